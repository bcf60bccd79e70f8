"""A region of a few lines at the bottom of a terminal, with messages above it."""

import logging
from collections.abc import Callable
from typing import TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

STYLES = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "red"}


class Screen:
    """A region that is redrawn in place, and removed when it is stopped."""

    def __init__(self, stream: TextIO, nocolor: bool) -> None:
        self.console = Console(file=stream, no_color=nocolor or None, force_terminal=True)
        self.live = Live(console=self.console, auto_refresh=False, transient=True)
        self.live.start()
        # After a run that was killed, the terminal must have a cursor.
        self.console.show_cursor(True)

    def draw(self, render: Callable[[int], RenderableType]) -> None:
        """Draw what `render` returns for the terminal's height in lines."""
        self.live.update(render(self.console.size.height), refresh=True)

    def write(self, text: str, level: int) -> None:
        """Write a message above the region."""
        self.console.print(Text(text, style=STYLES.get(level, "")), soft_wrap=True)

    def stop(self) -> None:
        """Remove the region."""
        self.live.stop()

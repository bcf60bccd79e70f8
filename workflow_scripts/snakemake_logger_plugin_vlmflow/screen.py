"""A few lines at the bottom of a terminal, with messages above them."""

import logging
from collections.abc import Callable
from typing import TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

STYLES = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "red"}


class Screen:
    """What is drawn last is wiped away when it is stopped."""

    def __init__(self, stream: TextIO, nocolor: bool) -> None:
        self.console = Console(file=stream, no_color=nocolor or None, force_terminal=True)
        self.live = Live(console=self.console, auto_refresh=False, transient=True)
        self.live.start()
        # Whoever is killed leaves the terminal with a cursor.
        self.console.show_cursor(True)

    def draw(self, render: Callable[[int], RenderableType]) -> None:
        """Draw what `render` gives for so many lines of room."""
        self.live.update(render(self.console.size.height), refresh=True)

    def write(self, text: str, level: int) -> None:
        """A message above."""
        self.console.print(Text(text, style=STYLES.get(level, "")), soft_wrap=True)

    def stop(self) -> None:
        """Wipe it away."""
        self.live.stop()

"""Fonts, sizes and titles of all figures."""

import json
import re
import textwrap
from collections.abc import Sequence

import altair as alt

from ..style import ARROW_FONT, FONT

MARGIN = 40  # pixels by which a heading may be wider than its panel
# Characters that XML cannot hold, even escaped: writing SVG or PNG fails at them.
INVALID_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def strip_invalid_xml(text: str) -> str:
    """The text with a replacement character for each one that XML cannot hold, such as a byte decoded from a token."""
    return INVALID_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def title_params(title: str, subtitle: list[str], columns: int = 3) -> alt.TitleParams:
    """A figure's title with its subtitle, in lines that fit a figure of so many columns of panels."""
    letters, small = (42, 54) if columns == 1 else (84, 112)
    lines = textwrap.wrap(title, letters)
    text = lines if len(lines) > 1 else title or " "
    below = [part for line in subtitle for part in textwrap.wrap(line, small)]
    return alt.TitleParams(text, subtitle=below, anchor="start", fontSize=14, subtitleFontSize=12)


def panel_facet(headings: list[str], size: int = 12, width: int = 190) -> alt.Facet:
    """The panels in the order of their headings, which are written in bold, in lines that are not much wider than a
    panel; `size` and `width` are in pixels."""
    facet = alt.Facet("panel:N", sort=headings).title(None)
    # The common font has no crossed arrow; where it has all that is needed, it is the narrower one.
    crossed = any("↛" in heading for heading in headings)
    letter = size * (0.68 if crossed else 0.58)
    return facet.header(
        labelExpr=in_lines(headings, int((width + MARGIN) / letter)),
        labelFontWeight="bold",
        labelFontSize=size,
        labelFont=ARROW_FONT if crossed else FONT,
    )


def in_lines(labels: Sequence[str], letters: int) -> str:
    """A Vega expression of a label in lines of at most so many letters."""
    # The size of a sample stays on one line.
    kept = {label: re.sub(r"\(n = ", "(n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}", label) for label in labels}
    lines = {label: textwrap.wrap(text, letters) or [text] for label, text in kept.items()}
    long = {label: parts for label, parts in lines.items() if len(parts) > 1}
    # Vega-Lite puts another expression in the place of each `datum.label`.
    return f"{json.dumps(long)}[(datum.label)] || (datum.label)" if long else "datum.label"


def themed(chart: alt.TopLevelMixin) -> alt.TopLevelMixin:
    """The chart with the fonts and sizes that all figures share."""
    return (
        chart.configure(font=FONT)
        .configure_axis(labelFontSize=11, titleFontSize=11, titleFontWeight="normal")
        .configure_legend(labelFontSize=12, labelFont=ARROW_FONT)
        .configure_view(stroke="#cccccc")
    )


def draw_message(title: str, subtitle: list[str], text: str) -> alt.TopLevelMixin:
    """A figure that holds a sentence, used when nothing could be measured."""
    lines = textwrap.wrap(strip_invalid_xml(text[:1].upper() + text[1:]), 52)
    words = (
        alt.Chart(alt.Data(values=[{}])).mark_text(fontSize=13, lineBreak="\n").encode(text=alt.value("\n".join(lines)))
    )
    return themed(words.properties(title=title_params(title, subtitle, 1), width=340, height=40 + 18 * len(lines)))

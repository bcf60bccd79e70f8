"""Fonts, sizes and titles of all figures."""

import re
import textwrap

import altair as alt

from ..style import ARROW_FONT, FONT

# Characters that XML cannot hold, even escaped: writing SVG or PNG fails at them.
INVALID_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def strip_invalid_xml(text: str) -> str:
    """The text with a replacement character for each one that XML cannot hold, such as a byte decoded from a token."""
    return INVALID_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def title_params(title: str, subtitle: list[str]) -> alt.TitleParams:
    """A figure's title with its subtitle, line by line."""
    return alt.TitleParams(title or " ", subtitle=subtitle, anchor="start", fontSize=14, subtitleFontSize=12)


def panel_facet(headings: list[str], size: int = 12) -> alt.Facet:
    """The panels in the order of their headings, which are written in bold; `size` is in pixels."""
    facet = alt.Facet("panel:N", sort=headings).title(None)
    # The common font has no crossed arrow; where it has all that is needed, it is the narrower one.
    font = ARROW_FONT if any("↛" in heading for heading in headings) else FONT
    return facet.header(labelFontWeight="bold", labelFontSize=size, labelFont=font)


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
    lines = textwrap.wrap(strip_invalid_xml(text[:1].upper() + text[1:]), 70)
    words = (
        alt.Chart(alt.Data(values=[{}])).mark_text(fontSize=13, lineBreak="\n").encode(text=alt.value("\n".join(lines)))
    )
    return themed(words.properties(title=title_params(title, subtitle), width=480, height=40 + 18 * len(lines)))

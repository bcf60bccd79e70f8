"""What all figures look like."""

import re
import textwrap

import altair as alt

from ..style import ARROW_FONT, FONT

# Characters that XML cannot hold, however they are escaped: the writer of SVG and PNG stops at them.
INVALID_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def strip_invalid_xml(text: str) -> str:
    """The text with a replacement character for what XML cannot hold, such as a byte that a token decodes to."""
    return INVALID_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def title_params(title: str, subtitle: list[str]) -> alt.TitleParams:
    """A figure's title with the lines under it."""
    return alt.TitleParams(title or " ", subtitle=subtitle, anchor="start", fontSize=14, subtitleFontSize=12)


def themed(chart: alt.TopLevelMixin) -> alt.TopLevelMixin:
    """The chart with the fonts and sizes that all figures share."""
    return (
        chart.configure(font=FONT)
        .configure_axis(labelFontSize=11, titleFontSize=11, titleFontWeight="normal")
        .configure_legend(labelFontSize=12, labelFont=ARROW_FONT)
        .configure_view(stroke="#cccccc")
    )


def draw_message(title: str, subtitle: list[str], text: str) -> alt.TopLevelMixin:
    """A figure that holds a sentence, in place of one for which nothing could be measured."""
    lines = textwrap.wrap(strip_invalid_xml(text[:1].upper() + text[1:]), 70)
    words = (
        alt.Chart(alt.Data(values=[{}])).mark_text(fontSize=13, lineBreak="\n").encode(text=alt.value("\n".join(lines)))
    )
    return themed(words.properties(title=title_params(title, subtitle), width=480, height=40 + 18 * len(lines)))

"""Charts as files."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import altair as alt
import pikepdf
import vl_convert
from altair.utils.html import INLINE_HTML_TEMPLATE

from vlmflow.tables import atomic_write


def javascript() -> str:
    """The libraries that draw an interactive figure, as one script; bundling them takes seconds."""
    vega_lite = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    return str(vl_convert.javascript_bundle(vl_version=vega_lite))  # type: ignore[call-arg]


def save(chart: alt.TopLevelMixin, path: str | Path, libraries: str | None = None) -> None:
    """Write the chart as HTML that needs no network, as SVG, as PDF with its fonts, or as PNG at
    twice the size, by the suffix of `path`.

    Args:
        chart: to write.
        path: of the file.
        libraries: the result of `javascript`, for HTML; by default it is made.

    Raises:
        ValueError: the suffix is another one.
    """
    with atomic_write(path) as temporary:
        match Path(path).suffix:
            case ".html":
                inlined = _Inlined(javascript() if libraries is None else libraries)
                chart.save(temporary, format="html", template=inlined, json_kwds={"cls": _EscapedJson})
            case ".svg":
                chart.save(temporary, format="svg")
                temporary.write_text(_renumber_gradients(temporary.read_text(encoding="utf-8")), encoding="utf-8")
            case ".png":
                chart.save(temporary, format="png", scale_factor=2)
            case ".pdf":
                chart.save(temporary, format="pdf")
                _rewrite_pdf(Path(temporary))
            case suffix:
                raise ValueError(f"{path}: charts are written as .html, .svg, .png or .pdf, not as {suffix!r}")


class _Inlined:
    """Altair's template of a page that holds its libraries, which are given instead of being bundled again."""

    def __init__(self, libraries: str) -> None:
        self._libraries = libraries

    def render(self, **values: Any) -> str:
        return str(INLINE_HTML_TEMPLATE.render(vegaembed_script=self._libraries, **values))


class _EscapedJson(json.JSONEncoder):
    """JSON that is safe inside a page's script: a question may hold `</script>`."""

    def iterencode(self, o: Any, _one_shot: bool = False) -> Iterator[str]:
        for piece in super().iterencode(o, _one_shot):
            yield piece.replace("<", "\\u003c").replace(">", "\\u003e")

    def encode(self, o: Any) -> str:
        return "".join(self.iterencode(o))


def _rewrite_pdf(path: Path) -> None:
    """Write a PDF file anew, with its objects in one order; that of the PDF writer differs from run to run."""
    with pikepdf.open(path, allow_overwriting_input=True) as document:
        document.save(path, deterministic_id=True)


def _renumber_gradients(drawing: str) -> str:
    """The SVG with its gradients numbered from 0.

    The SVG writer keeps counting from one drawing to the next, so without this the same figure would depend on the
    figures drawn before it.
    """
    numbers: dict[str, int] = {}
    return re.sub(
        r'(?<=id="gradient_)\d+(?=")|(?<=url\(#gradient_)\d+(?=\))',
        lambda match: str(numbers.setdefault(match[0], len(numbers))),
        drawing,
    )

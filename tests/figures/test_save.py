"""Files of figures: they open offline, are the same from the same table, and are there when nothing was measured."""

import re
import zlib
from contextlib import suppress

import pytest

from support.frames import FLOW_FIGURE, FLOW_PROBE, TASKS, drawn
from vlmflow.figures import FlowChart, LensChart
from vlmflow.figures.save import save
from vlmflow.probes import LensProbe

LENS = LensProbe(kind="lens")


@pytest.mark.parametrize("ending", [".html", ".svg", ".png", ".pdf"])
@pytest.mark.parametrize("figure", [FLOW_FIGURE, LensChart(chart="lens", probe="tracking")])
def test_a_figure_of_a_model_without_measurements_is_written(flow_summary, lens_summary, tmp_path, figure, ending):
    summary, probe = (flow_summary, FLOW_PROBE) if isinstance(figure, FlowChart) else (lens_summary, LENS)
    save(drawn(summary, figure, probe, "none", TASKS, columns=3), tmp_path / f"chart{ending}")
    if ending == ".svg":
        assert "There was no question to analyse." in (tmp_path / "chart.svg").read_text()


@pytest.mark.parametrize("ending", [".html", ".svg", ".png", ".pdf"])
def test_files_open_offline_and_are_the_same_every_time(flow_summary, tmp_path, ending):
    chart = drawn(flow_summary, FLOW_FIGURE, FLOW_PROBE, "m", TASKS, columns=3)
    path = tmp_path / f"chart{ending}"
    save(chart, path)
    first = path.read_bytes()
    save(chart, path)
    assert path.read_bytes() == first, "the same bytes from the same table"
    if ending == ".html":
        page = first.decode()
        assert not re.findall(r"""(?:src|href)=["']https?:""", page), "opens without a network"
    if ending == ".svg":
        assert first.startswith(b"<svg")
        assert b"Change in p(answer), %" in first
    if ending == ".pdf":
        assert first.startswith(b"%PDF")
        assert b"/FontFile" in first or b"/FontDescriptor" in unpacked(first), "its fonts are embedded"


def unpacked(pdf):
    """The objects of a PDF file, unpacked where they are compressed."""
    found = [pdf]
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL):
        with suppress(zlib.error):
            found.append(zlib.decompress(stream))
    return b"".join(found)


def test_another_ending_is_refused(flow_summary, tmp_path):
    with pytest.raises(ValueError, match=r"\.html, \.svg, \.png or \.pdf"):
        save(drawn(flow_summary, FLOW_FIGURE, FLOW_PROBE, "m", TASKS, columns=3), tmp_path / "chart.eps")


def test_a_figure_without_questions_is_written(flow_summary, tmp_path):
    chart = drawn(flow_summary.clear(), FLOW_FIGURE, FLOW_PROBE, "m", TASKS, columns=3)
    save(chart, tmp_path / "empty.svg")
    assert (tmp_path / "empty.svg").read_text().startswith("<svg")

"""Captions in Visual Genome's layout: packed, by lines, broken."""

import gzip
import json

import pytest

from vlmflow.data.region_descriptions import read_captions
from vlmflow.errors import DatasetError


def write(path, content):
    path.write_text(json.dumps(content))
    return path


REGIONS = [
    {"id": 1, "regions": [{"region_id": 5, "phrase": " a cup ", "x": -4}, {"phrase": "a table."}, {"phrase": "a cup"}]},
    {"id": 2, "regions": []},
    {"id": 3, "regions": [{"phrase": "<script>"}]},
]  # fmt: skip


def test_captions_are_region_descriptions(tmp_path):
    path = write(tmp_path / "regions.json", REGIONS)
    assert read_captions(path, {"1", "2", "9"}) == ({"1": "a cup. a table."}, {})
    # Of two entries for an image none is lost; what nobody asks for may be malformed.
    again = [*REGIONS, {"id": 1, "regions": [{"phrase": "a dog"}, {"phrase": "a cup"}]}, {"id": 5, "regions": 3}]
    assert read_captions(write(path, again), {"1"}) == ({"1": "a cup. a table. a dog."}, {})


@pytest.mark.parametrize("name", ["r.json.gz", "r.jsonl", "r.jsonl.gz"])
def test_captions_may_be_packed_or_one_per_line(tmp_path, name):
    text = "\n".join(map(json.dumps, REGIONS)) if "jsonl" in name else json.dumps(REGIONS)
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    assert read_captions(tmp_path / name, {"1", "2", "9"}) == ({"1": "a cup. a table."}, {})


def test_one_malformed_description_costs_its_image_only(tmp_path, capsys):
    path = write(tmp_path / "regions.json", [*REGIONS, {"id": 4, "regions": [{}]}, 7])
    texts, broken = read_captions(path, {"1", "4"})
    assert texts == {"1": "a cup. a table."}
    assert broken == {"4": "regions.json: entry 4 is no image with regions: regions.0.phrase: Field required"}
    assert "entry 5 is no image with regions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no such file; expected region descriptions"),
        ("[{", "this is no JSON"),
        ('[{"id": 1}]', "entry 1 is no image with regions: regions"),
        ("[3]", "entry 1 is no image with regions"),
    ],
)
def test_captions_that_cannot_be_read_are_refused(tmp_path, text, message):
    path = tmp_path / "regions.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_captions(path, {"1"})

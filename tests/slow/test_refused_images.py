"""A run some of whose images a server sends as something else, and the same command once the server is mended."""

import json
import re

import pytest
import yaml
from PIL import Image

from support.archives import write_tar
from support.paths import ROOT
from support.results import rows_of
from support.servers import serving
from support.workspace import Workspace
from vlmflow.data.scenes import write_scenes
from vlmflow.tables import ANSWERS, SKIPPED

LOGIN = ({"Content-Type": "text/html"}, [b"<!doctype html><title>Log in to the guest network</title>"])


def serve_questions(folder, scenes):
    """The image id of each question on drawn scenes, which are served as A-OKVQA's and COCO's."""
    write_scenes(folder / "drawn", images=scenes, seed=3)
    written = json.loads((folder / "drawn" / "questions.json").read_text()).items()
    asked = [(name, entry) for name, entry in written if entry["types"]["structural"] == "query"]
    numbers = {image_id: number for number, image_id in enumerate(sorted({entry["imageId"] for _, entry in asked}))}
    (folder / "coco" / "val2017").mkdir(parents=True)
    for image_id, number in numbers.items():
        drawn = Image.open(folder / "drawn" / "images" / f"{image_id}.png")
        drawn.save(folder / "coco" / "val2017" / f"{number:012d}.jpg", quality=95)
    entries = [
        {
            "question_id": name,
            "image_id": numbers[entry["imageId"]],
            "question": entry["question"],
            "direct_answers": [entry["answer"]],
        }
        for name, entry in asked
    ]
    write_tar(folder / "a.tar.gz", {"./aokvqa_v1p0_val.json": json.dumps(entries).encode()})
    return [str(entry["image_id"]) for entry in entries]


def served_study(url):
    study = yaml.safe_load((ROOT / "config.yaml").read_text())
    study |= {"study": "served", "tasks": {"All": {"structural": "query", "semantic": "global"}}}
    study |= {"figures": {}, "claims": {}}
    study["dataset"] = {"source": "a-okvqa", "url": f"{url}/a.tar.gz", "coco_url": f"{url}/coco"}
    study["probes"] = {"tracking": {"kind": "lens"}}
    study["tables"] = {"accuracy": {"table": "accuracy", "model": "tiny-llava"}}
    return study


@pytest.mark.slow
def test_a_corrected_image_is_fetched_and_measured_by_the_same_command(tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "work").mkdir()
    with serving(tmp_path / "served") as server:
        on = serve_questions(server.folder, scenes=4)
        bad = "/coco/val2017/000000000001.jpg"
        server.faults.body[bad] = LOGIN
        workspace = Workspace(tmp_path / "work")
        workspace.write(served_study(server.url))
        results = tmp_path / "work" / "results" / "served"

        def run(*arguments):
            """(what is said, images that the server was asked for)."""
            server.requests.clear()
            done = workspace.snakemake(*arguments)
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout + done.stderr, {path for _, path, _ in server.requests if path.endswith(".jpg")}

        def asked():
            tables = [rows_of(ANSWERS, results / step / "answers") for step in ("tiny-llava", "tables/accuracy")]
            return [sorted(table["image_id"]) for table in tables]

        def lost():
            return SKIPPED.read(results / "summary" / "skipped.parquet").filter(stage="images")

        run()
        assert asked() == [sorted(name for name in on if name != "1")] * 2
        assert set(lost()["task"]) == {"All", "accuracy"}
        # Still bad: it is asked for, and nothing is measured anew for that; a dry run asks nobody.
        text, images = run()
        assert "Nothing to be done" in text
        assert re.search(
            r"0 of 1 images that were refused before have now arrived; .*what was sent cannot be read", text
        )
        assert images == {bad}
        server.faults.body.clear()
        assert run("--dry-run")[1] == set()
        assert run()[1] == {bad}
        assert asked() == [sorted(on)] * 2
        assert len(lost()) == 0
        text, images = run()
        assert "Nothing to be done" in text
        assert images == set()

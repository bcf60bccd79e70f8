"""One model that fails does not take the summaries, figures and report of the others with it."""

import json
import shutil

import polars as pl
import pytest

from support.paths import TINY_LLAVA
from support.workspace import Workspace

pytestmark = pytest.mark.slow

STUDY = {
    "study": "two",
    "dataset": {"source": "synthetic", "images": 12, "seed": 0},
    "tasks": {"QueryAttr": {"structural": "query", "semantic": "attr"}},
    "sample": {"per_task": 3, "seed": 0},
    "models": {
        "bad": {"path": "my/bad", "dtype": "float32", "gpus": 0},
        "good": {"path": "resources/tiny-llava", "dtype": "float32", "gpus": 0},
    },
    "probes": {
        "flow": {"kind": "knockout", "window": 3, "edges": ["image -> question"]},
        "tracking": {"kind": "lens", "models": ["bad"]},
    },
    "figures": {
        "edges": {"chart": "flow", "probe": "flow", "edges": ["image -> question"]},
        "words": {"chart": "lens", "probe": "tracking"},
    },
}


def test_other_models_are_finished_and_the_corrected_one_joins_them(tmp_path):
    space = Workspace(tmp_path)
    shutil.copytree(TINY_LLAVA, tmp_path / "my/bad")
    file = tmp_path / "my/bad/processor_config.json"
    right = file.read_text()
    file.write_text(json.dumps(json.loads(right) | {"patch_size": 15}))
    space.write(STUDY)

    done = space.snakemake()
    assert done.returncode == 1
    told = "my/bad: the processor's files say patch_size: 15, but config.json says vision_config.patch_size: 16"
    assert done.stderr.count(f"  {told}") == 1, "a line for the reason, not for the job"
    assert f"without the failed measurements of these models:\n  bad: {told}" in done.stderr
    assert "Traceback" not in done.stderr
    results = tmp_path / "results/two"
    failed = [str(path.relative_to(results / "logs")) for path in results.rglob("*.error.json")]
    assert failed == ["load_model/bad.error.json"], "one early job has failed, and none that would need hours"
    assert not (results / "bad").exists()
    answers = (results / "good/answers/1-of-1.parquet").stat()
    page = (results / "index.html").read_text()
    assert "Some measurements failed" in page
    assert "vision_config.patch_size: 16" in page
    assert "figures/edges/good.html" in page
    assert pl.read_parquet(results / "summary/flow.parquet")["model"].unique().to_list() == ["good"]
    assert sorted(path.name for path in (results / "figures").glob("*/*.png")) == ["good.png"]

    file.write_text(right)
    done = space.snakemake()
    assert done.returncode == 0, done.stderr
    page = (results / "index.html").read_text()
    assert "Some measurements failed" not in page
    assert "figures/edges/bad.html" in page
    assert set(pl.read_parquet(results / "summary/flow.parquet")["model"]) == {"good", "bad"}
    assert (results / "good/answers/1-of-1.parquet").stat() == answers, "what was measured is kept as it is"
    assert "Nothing to be done" in space.snakemake().stderr

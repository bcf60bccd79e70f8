"""A model from the hub whose files are gone from the cache: a job that needs them fetches them, and no other."""

import re
import shutil

from support.paths import TINY_LLAVA
from support.servers import HubHandler, serving
from support.studies import smallest_study
from support.workspace import Workspace

TARGET = "results/small/tiny-llava/model.parquet"


def test_results_of_a_purged_model_are_still_results(tmp_path):
    shutil.copytree(TINY_LLAVA, tmp_path / "hub" / "some" / "model")
    (tmp_path / "work").mkdir()
    with serving(tmp_path / "hub", HubHandler) as server:
        workspace = Workspace(tmp_path / "work", HF_ENDPOINT=server.url, HF_HOME=str(tmp_path / "cache"))
        study = smallest_study()
        study["models"]["tiny-llava"]["path"] = "some/model"
        workspace.write(study)
        done = workspace.snakemake(TARGET)
        assert done.returncode == 0, done.stdout + done.stderr
        server.requests.clear()
        (template,) = (tmp_path / "cache").rglob("snapshots/*/chat_template.jinja")
        template.resolve().unlink()  # the link remains
        dry = workspace.snakemake(TARGET, "--dry-run")
        assert "Nothing to be done" in dry.stdout + dry.stderr
        shutil.rmtree(tmp_path / "cache")
        for arguments in (["--dry-run"], []):
            done = workspace.snakemake(TARGET, *arguments)
            assert "Nothing to be done" in done.stdout + done.stderr
        assert "is gone from the hub's cache; the model is fetched again if a job needs it" in done.stderr
        assert server.requests == []
        again = workspace.snakemake(TARGET, "--dry-run", "--forcerun", "load_model")
        plan = set(re.findall(r"^(\w+) +1$", again.stdout + again.stderr, re.MULTILINE))
        assert plan == {"fetch_model", "load_model"}

"""What the catalogue of Snakemake workflows and `snakemake --report` show of this one."""

import re
from types import SimpleNamespace

import pytest
import yaml
from docutils.core import publish_parts
from jinja2 import Environment, StrictUndefined

from support.paths import ROOT

CAPTIONS = ROOT / "workflow_scripts" / "captions"
STUDIES = [ROOT / "config.yaml", *sorted((ROOT / "studies").glob("*.yaml"))]
# As the catalogue documents its file.
KEYS = {
    "usage": {"mandatory-flags", "software-stack-deployment", "report"},
    "mandatory-flags": {"desc", "flags"},
    "software-stack-deployment": {"conda", "apptainer", "apptainer+conda"},
}


def test_the_catalogues_file_has_the_keys_that_it_may_have():
    told = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())
    assert set(told) == {"usage"}
    usage = told["usage"]
    assert set(usage) == KEYS["usage"]
    assert set(usage["mandatory-flags"]) == KEYS["mandatory-flags"]
    assert all(isinstance(text, str) for text in usage["mandatory-flags"].values())
    assert set(usage["software-stack-deployment"]) == KEYS["software-stack-deployment"]
    assert usage["software-stack-deployment"]["conda"] is True
    assert usage["report"] is True


def test_the_catalogue_finds_the_workflows_files():
    readme = (ROOT / "README.md").read_text().lower()
    assert "snakemake" in readme
    assert "workflow" in readme
    assert (ROOT / "Snakefile").is_file()
    assert list((ROOT / "rules").glob("*.smk"))
    text = (ROOT / "config" / "README.md").read_text()
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (ROOT / "config" / link.partition("#")[0]).is_file()


def rendered(name, study, **wildcards):
    """A caption as Snakemake makes it; reStructuredText that is not well-formed raises."""
    job = SimpleNamespace(config=study, wildcards=SimpleNamespace(**wildcards))
    text = Environment(undefined=StrictUndefined).from_string((CAPTIONS / name).read_text()).render(snakemake=job)
    return publish_parts(text, writer="html", settings_overrides={"halt_level": 2, "report_level": 2})["body"]


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_every_figure_and_table_of_every_study_has_a_caption(path):
    study = yaml.safe_load(path.read_text())
    for name, figure in study.get("figures", {}).items():
        caption = rendered("figure.rst", study, figure=name, model="some-model")
        assert "some-model" in caption
        assert figure["probe"] in caption
    for name, table in study.get("tables", {}).items():
        caption = rendered("table.rst", study, table=name)
        assert len(caption) > 100
        assert table.get("model", "") in caption
    assert study["study"] in rendered("workflow.rst", study)
    assert study["study"] in rendered("page.rst", study)
    assert "some-task" in rendered("sheet.rst", study, task="some-task", model="m")


def test_every_caption_belongs_to_a_rule():
    used = {name for path in (ROOT / "rules").glob("*.smk") for name in re.findall(r"(\w+\.rst)", path.read_text())}
    assert used == {path.name for path in CAPTIONS.glob("*.rst")}

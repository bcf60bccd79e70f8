"""The paper's two studies set what the published code sets, where the workflow's own default is another one."""

import pytest
import yaml
from common import ROOT

from vlmflow.study import read_study

STUDIES = {
    name: read_study(yaml.safe_load((ROOT / "studies" / f"{name}.yaml").read_text()), f"studies/{name}.yaml")
    for name in ("flow", "flow-appendix")
}


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_related_patches_are_those_that_paint_finds(study):
    rules = {name: model.patch_rule for name, model in study.models.items() if model.reads == "picture"}
    assert rules == dict.fromkeys(rules, "painted")
    assert len(rules) == 5

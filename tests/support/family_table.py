"""The tables of docs/models.md: a row per family, written from what its tests measure.

`VLMFLOW_WRITE_MODELS=1 pytest -n 0 tests/models/test_families.py` writes the tables anew; without this variable, tests
compare each row with the page.
"""

import os
import re

import transformers

from support.paths import ROOT
from vlmflow.errors import GeometryError, NotApplicableError
from vlmflow.prompts.layouts.registry import find_layout

PAGE = ROOT / "docs" / "models.md"
WRITES = bool(os.environ.get("VLMFLOW_WRITE_MODELS"))
# The page has the smallest of these that is above what was measured, which may differ from machine to machine.
BOUNDS = (1e-12, 1e-9, 1e-7, 1e-6)
HEADS = {
    "measured": "| family | layout | segments around the image | exact to | does not apply |\n|---|---|---|---:|---|\n",
    "lacking": "| family | needs |\n|---|---|\n",
    "refused": "| family | reason |\n|---|---|\n",
}

rows: dict[str, dict[str, str]] = {kind: {} for kind in HEADS}


def measured_row(name, family, vlm, prompt, difference):
    """The row of a family that is measured; `difference` is the largest one to the plain method, in float64."""
    around = [segment for segment in ("image separators", "after image") if segment in prompt.segments]
    bound = next(bound for bound in BOUNDS if difference <= bound)
    layout = "–" if family.no_patches else layout_of(vlm)
    rest = "; ".join(inapplicable(family, vlm, prompt))
    return f"| {name} | {layout} | {', '.join(around) or '–'} | {bound:.0e} | {rest} |"


def layout_of(vlm):
    try:
        layout = find_layout(vlm.processor)
    except GeometryError:
        return "measured"
    return f"`{type(layout).__name__}`"


def inapplicable(family, vlm, prompt):
    """What does not apply to a family, and why."""
    if family.no_patches:
        yield {
            "query tokens": "patches (query tokens attend to all of it)",
            "no pixel reaches an image token except through attention": "patches (each token depends on all of it)",
            "reach several image tokens each": "patches (tokens share parts of it)",
        }[family.no_patches]
    for what, measure in {
        "attention": lambda: vlm.attention_stats(prompt, ["last"]),
        "norms": lambda: vlm.feature_norms(prompt),
    }.items():
        try:
            measure()
        except NotApplicableError as error:
            reason = re.sub(
                r"^does not apply: | of \w+ForConditionalGeneration|\w+ForConditionalGeneration ", "", str(error)
            )
            yield what if what == "norms" else f"{what} ({reason})"


def refused_row(name, message):
    """The row of a family that is refused, with the message without the model's folder."""
    return f"| {name} | {message.split(': ', 1)[1]} |"


def lacking_row(name, family):
    """The row of a family whose packages are not in the default install."""
    return f"| {name} | {family.needs} |"


def check_row(kind, name, row):
    """Check that the page has the row, or keep it to be written."""
    rows[kind][name] = row
    if not WRITES:
        assert f"{row}\n" in PAGE.read_text(), "write the page anew; see tests/support/family_table.py"


def write_page():
    """Write the tables, and the version of the library, into the page."""
    text = PAGE.read_text()
    for kind, head in HEADS.items():
        body = head + "".join(f"{row}\n" for _, row in sorted(rows[kind].items(), key=lambda item: item[0].lower()))
        table = re.compile(rf"(?<=<!-- {kind} -->\n).*?(?=<!-- end -->)", re.DOTALL)
        text = table.sub(lambda _, body=body: body, text)
    text = re.sub(r"transformers \d+\.\d+\.\d+", f"transformers {transformers.__version__}", text)
    PAGE.write_text(text)

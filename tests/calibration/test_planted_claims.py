"""Claims on models whose flow is planted: from pixels to verdicts, they find what was planted and nothing else."""

import numpy as np
import polars as pl
import pytest

from support.claim_rows import RowsSource, entry
from vlmflow.calibration.planted import QUESTION, Plant, build_planted, paint
from vlmflow.claims.judge import judge
from vlmflow.edges import FLOW_EDGES
from vlmflow.probes.effects import last_sub_word
from vlmflow.probes.knockout.measure import knockout

LAYERS, SCENES = 12, 16
EDGES = (*FLOW_EDGES, "other patches, as many as related -> question")
# Claims on knockouts alone. Those of the second group hold that something is negligible, or not there.
FLOWS = "F04 F05 F07 F08 F14 F15 F16 F17".split()
ABSENT = "F03 F06".split()


def scenes():
    rng = np.random.default_rng(0)
    for _ in range(SCENES):
        left, right = (int(x) for x in (rng.integers(0, 2), rng.integers(4, 6)))
        boxes = [(8 * column, 8 * int(rng.integers(0, 6)), 8, 8) for column in (left, right)]
        yield paint((48, 48), *boxes, tuple(int(bit) for bit in rng.integers(0, 2, 2)), int(rng.integers(2)))


def verdicts(plant, answers=None):
    """Claim → verdict, on knockouts of one layer in the planted model; `answers` are token ids in place of its own."""
    vlm = build_planted(plant)
    rows = []
    for number, scene in enumerate(scenes()):
        prompt = vlm.prompt(scene.image, QUESTION, objects={"picture": [scene.related]})
        measured = last_sub_word(vlm, prompt, [answers[number % len(answers)]]) if answers else None
        names = {"question_id": pl.lit(str(number)), "image_id": pl.lit(str(number))}
        rows.append(knockout(vlm, prompt, EDGES, 1, measured).with_columns(**names))
    claims = {name: entry(name) for name in (*FLOWS, *ABSENT)}
    judged = judge(claims, {"flow": RowsSource(pl.concat(rows))}, {"a": LAYERS}, ["a"])
    return dict(judged.select("claim", "claim_verdict").iter_rows())


def test_a_plant_of_two_stages_supports_the_claims_of_the_paper():
    found = verdicts(Plant.two_stages(LAYERS, other=1, related=4, last=8))
    # One patch carries the code, and as few others as there are related ones hardly ever have it among them.
    assert found.pop("F17") != "supported"
    assert set(found.values()) == {"supported"}, found


@pytest.mark.parametrize(
    ("plant", "wrong"),
    [
        (Plant.direct(LAYERS, 8), ["F04", "F06", "F07", "F08"]),
        (Plant.two_stages(LAYERS, other=6, related=8, last=10), ["F05", "F08"]),
        (Plant.through_question(LAYERS, 1, 8), ["F08", "F15", "F16"]),
    ],
    ids=["direct", "late", "one stage"],
)
def test_another_plant_contradicts_the_claims_that_it_breaks(plant, wrong):
    found = verdicts(plant)
    assert {name for name in wrong if found[name] != "contradicted"} == set(), found
    assert found["F03"] == "supported", "in none of them the last position takes from itself"


def test_without_flow_no_claim_of_a_flow_is_supported():
    found = verdicts(Plant((), LAYERS))
    assert [name for name in FLOWS if found[name] == "supported"] == []
    assert [found[name] for name in ABSENT] == ["supported"] * 2


def test_with_shuffled_answers_no_claim_of_a_flow_is_supported():
    """The probability of a token that has nothing to do with the image changes by nothing, or at random."""
    plant = Plant.two_stages(LAYERS, other=1, related=4, last=8)
    tokens = build_planted(plant).processor.tokenizer(QUESTION.replace("?", " ?"), add_special_tokens=False).input_ids
    found = verdicts(plant, answers=tokens)
    assert [name for name in FLOWS if found[name] == "supported"] == []

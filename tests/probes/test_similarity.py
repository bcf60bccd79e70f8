"""Similarity of states and its correction, against every pair, one after the other."""

from dataclasses import replace
from itertools import product

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support.rows import hidden, shown
from vlmflow.data.sampling import sample
from vlmflow.errors import OutOfMemoryError, QuestionError, RetryableQuestionError
from vlmflow.probes import SimilarityProbe, VisualLensProbe
from vlmflow.probes.base import ProbeTables
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.run import ProbeRun
from vlmflow.probes.similarity import PAIRS
from vlmflow.probes.similarity.measure import Directions, similarity
from vlmflow.tables import Skipped


def cosine(one, other):
    return float(one @ other / (one.norm() * other.norm()))


def pair_by_pair(states, image, text, ids):
    """(3, layers + 1): every pair of different positions, one after the other; of text, of different words."""
    found = []
    for layer in states:
        across = [cosine(layer[i], layer[j]) for i in image for j in text]
        images = [cosine(layer[i], layer[j]) for i in image for j in image if i != j]
        words = [cosine(layer[i], layer[j]) for i in text for j in text if ids[i] != ids[j]]
        found.append([np.mean(across), np.mean(images), np.mean(words)])
    return np.array(found).T


def unrelated_pair_by_pair(mine, other):
    """(3, layers + 1): of two (states, image positions, text positions, token ids), without pairs of the same word."""
    found = []
    for here, there in zip(mine[0], other[0], strict=True):
        (image, text, ids), (their_image, their_text, their_ids) = mine[1:], other[1:]
        between = [cosine(here[i], there[j]) for i in image for j in their_text]
        back = [cosine(there[i], here[j]) for i in their_image for j in text]
        images = [cosine(here[i], there[j]) for i in image for j in their_image]
        words = [cosine(here[i], there[j]) for i in text for j in their_text if ids[i] != their_ids[j]]
        found.append([(np.mean(between) + np.mean(back)) / 2, np.mean(images), np.mean(words)])
    return np.array(found).T


@pytest.mark.oracle("similarity")
def test_similarity_equals_the_mean_over_pairs(random_vlm, probe_context, noise_questions):
    measured = similarity(probe_context, noise_questions[0], {"own": "{question}", "other": "is the {object} red ?"}, 2)
    for name, text in (("own", "{question}"), ("other", "is the {object} red ?")):
        sides = []
        # The unrelated ones of the first question are the next two about other images, in the same words.
        for row in noise_questions[:3]:
            prompt = shown(random_vlm, row, text.format(question=row.text, object=row.objects[0].name))
            ids = prompt.inputs["input_ids"][0].tolist()
            sides.append(
                (
                    hidden(random_vlm, prompt),
                    prompt.positions("image").tolist(),
                    prompt.positions("question").tolist(),
                    ids,
                )
            )
        raw = pair_by_pair(*sides[0])
        others = np.mean([unrelated_pair_by_pair(sides[0], other) for other in sides[1:]], axis=0)
        for place, pair in enumerate(PAIRS):
            found = measured.filter((pl.col("prompt") == name) & (pl.col("pair") == pair)).sort("layer")
            assert found["layer"].to_list() == [-1, 0, 1, 2]
            np.testing.assert_allclose(found["raw"], raw[place], atol=1e-9)
            np.testing.assert_allclose(found["unrelated"], others[place], atol=1e-9)
            np.testing.assert_allclose(found["corrected"], raw[place] - others[place], atol=1e-9)


@settings(max_examples=40)
@given(
    image=st.integers(2, 5),
    text=st.integers(2, 5),
    theirs=st.integers(2, 5),
    seed=st.integers(0, 10**6),
    same=st.booleans(),
)
def test_similarity_of_sums_equals_the_mean_over_pairs(image, text, theirs, seed, same):
    rng = torch.Generator().manual_seed(seed)

    def side(words):
        states = torch.randn(2, image + words, 4, generator=rng, dtype=torch.float64)
        ids = torch.randint(0, 3, (image + words,), generator=rng)
        if same:
            ids[:] = 1
        units = torch.nn.functional.normalize(states, dim=-1)
        made = Directions(units[:, :image].sum(1), image, units[:, image:], ids[image:])
        return made, (states, list(range(image)), list(range(image, image + words)), ids.tolist())

    (mine, raw), (other, their_raw) = side(text), side(theirs)
    ids, their_ids = raw[3][image:], their_raw[3][image:]
    if len(set(ids)) > 1:
        np.testing.assert_allclose(mine.within(), pair_by_pair(*raw), atol=1e-12)
    else:
        assert mine.within()[2].isnan().all()
    across = mine.across(other)
    if all(i == j for i, j in product(ids, their_ids)):
        assert across[2].isnan().all()
        return
    np.testing.assert_allclose(across, unrelated_pair_by_pair(raw, their_raw), atol=1e-12)
    np.testing.assert_allclose(across, other.across(mine), atol=1e-12)


def test_prompts_that_do_not_apply_are_left_out(probe_context, noise_questions):
    row = replace(noise_questions[0], objects=())
    found = similarity(probe_context, row, {"own": "{question}", "yes-no": "is the {object} red ?"}, 1)
    assert set(found["prompt"]) == {"own"}
    assert probe_context.skipped == [
        Skipped(
            "0", "prompt yes-no", "the question has no object that could replace {object} in 'is the {object} red ?'"
        )
    ]
    with pytest.raises(QuestionError, match="no prompt of the probe applies to this question"):
        similarity(probe_context, row, {"one": "?"}, 1)
    assert "single token" in probe_context.skipped[-1].reason
    with pytest.raises(QuestionError, match="no prompt of the probe applies to this question"):
        similarity(probe_context, row, {"twice": "red red red"}, 1)
    assert "the text is one word" in probe_context.skipped[-1].reason
    alone = ProbeContext(probe_context.vlm, questions=noise_questions[2:])
    with pytest.raises(QuestionError, match="no prompt of the probe applies to this question"):
        similarity(alone, noise_questions[2], {"own": "{question}"}, 1)
    assert "no question on another image" in alone.skipped[-1].reason


def test_a_prompt_that_cannot_be_compared_costs_itself_only(random_vlm, noise_questions):
    bare = [noise_questions[0], *(replace(row, objects=()) for row in noise_questions[1:])]
    compared = ProbeContext(random_vlm, questions=bare)
    found = similarity(compared, bare[0], {"own": "{question}", "yes-no": "is the {object} red ?"}, 1)
    assert set(found["prompt"]) == {"own"}
    assert len(compared.skipped) == 1


def ids_of(questions):
    return [None if other is None else other.id for other in questions]


def test_unrelated_questions_are_read_backwards_first_and_noted(random_vlm, noise_questions):
    """The last two are about one image."""
    context = ProbeContext(random_vlm, questions=noise_questions)
    found = [ids_of(context.unrelated(row)) for row in noise_questions]
    assert found == [["1", "2", "3"], ["0", "2", "3"], ["1", "0"], ["1", "0"]]
    context.read.clear()
    next(context.unrelated(noise_questions[1]))
    assert ids_of(context.read) == ["0"]
    for _ in range(2):
        assert ids_of(context.unrelated(noise_questions[1])) == ["0", "2", "3"]
        assert ids_of(context.read) == ["0", "2", "3", None], "once, with the end"
    run = ProbeRun(random_vlm, SimilarityProbe(kind="similarity", partners=1), "s", questions=noise_questions)
    run.measure(noise_questions[2])
    assert ids_of(run.read) == ["1"]


@pytest.mark.parametrize("probe", [SimilarityProbe(kind="similarity"), VisualLensProbe(kind="visual-lens")])
def test_a_larger_sample_changes_no_comparison_of_the_smaller_one(probe):
    """It begins with the same questions, which are compared with those before them."""
    rows = pl.DataFrame({"question_id": [str(number) for number in range(40)]})
    tables = ProbeTables(rows, rows, rows)
    smaller = rows.filter(pl.col("question_id").is_in(sample(rows["question_id"], 9, seed=3).implode()))
    few, many = (probe.columns(each, tables, seed=3)["question_id"].to_list() for each in (smaller, rows))
    assert many[:9] == few
    assert probe.columns(rows, tables, seed=4)["question_id"].to_list() != many
    assert probe.uses_seed


def test_unrelated_questions_are_recorded_once(random_vlm, noise_questions, monkeypatch):
    asked = []
    record = random_vlm.record
    monkeypatch.setattr(random_vlm, "record", lambda prompt: asked.append(prompt) or record(prompt))
    context = ProbeContext(random_vlm, questions=noise_questions, cache_size=4)
    for row in noise_questions:
        similarity(context, row, {"own": "{question}"}, 2)
    assert len(asked) == len(noise_questions)
    small = ProbeContext(random_vlm, questions=noise_questions, cache_size=1)
    one = similarity(small, noise_questions[0], {"own": "{question}"}, 2)
    assert one.equals(similarity(context, noise_questions[0], {"own": "{question}"}, 2))
    assert len(small.cache) == 1


def test_too_little_memory_does_not_cost_a_prompt(random_vlm, noise_questions, monkeypatch):
    """The question is measured once more at the end of the job, and is not taken for one without this prompt."""

    def record(prompt):
        raise OutOfMemoryError("not even the smallest batch")

    monkeypatch.setattr(random_vlm, "record", record)
    run = ProbeRun(random_vlm, SimilarityProbe(kind="similarity"), "s", questions=noise_questions)
    with pytest.raises(RetryableQuestionError):
        run.measure(noise_questions[0])
    assert run.skipped == []

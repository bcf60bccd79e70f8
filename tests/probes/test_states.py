"""States at the positions of segments, against the hidden states of the model itself; what is left out, and refused."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from support.paths import random_llava
from support.rows import hidden, shown
from support.studies import changed_demo
from vlmflow.analysis.summaries import summarise_model_task
from vlmflow.edges import SEGMENTS, SINK_SEGMENTS
from vlmflow.errors import ModelError, NotApplicableError, QuestionError, StudyError
from vlmflow.models.size import LARGE
from vlmflow.probes import StatesProbe
from vlmflow.probes.run import ProbeRun
from vlmflow.probes.states.measure import states_at
from vlmflow.study import read_study
from vlmflow.study.checks import layer_problems
from vlmflow.tables import SKIPPED, Skipped

PRESENT = ["last", "question", "image"]


def probe_of(**settings):
    return StatesProbe(kind="states", **settings)


def measured(vlm, questions, **settings):
    """(rows of all questions, what was skipped)."""
    run = ProbeRun(vlm, probe_of(**settings), "s", questions=questions)
    return pl.concat([run.measure(question) for question in questions]), run.skipped


@pytest.mark.oracle("states")
@pytest.mark.parametrize("mean", [False, True])
def test_states_are_the_models_own_hidden_states(random_vlm, noise_questions, mean):
    prompt = shown(random_vlm, noise_questions[0])
    with torch.no_grad():
        own = random_vlm.model(**prompt.inputs, output_hidden_states=True).hidden_states
    unnormed = hidden(random_vlm, prompt)
    positions = [prompt.positions(segment) for segment in PRESENT]
    found = states_at(random_vlm.record(prompt), positions, range(-1, 3), mean=mean)
    for where, states in zip(positions, found, strict=True):
        assert states.dtype == torch.float64
        for layer in range(-1, 3):
            expected = unnormed[layer + 1][where]
            if layer < 2:  # the last ones that the model gives are normed
                torch.testing.assert_close(expected, own[layer + 1][0, where], rtol=0, atol=0)
            elif not mean:
                normed = random_vlm.norm(states[layer + 1])
                torch.testing.assert_close(normed, own[layer + 1][0, where], rtol=0, atol=1e-9)
            if mean:
                expected = sum(expected)[None] / len(where)
            torch.testing.assert_close(states[layer + 1], expected, rtol=0, atol=1e-9)
    assert not torch.allclose(own[-1][0], unnormed[-1]), "the norm changes the states"


@pytest.mark.parametrize("layers", [None, [0, 2], [-1]])
@pytest.mark.parametrize("tokens", ["mean", "all"])
def test_rows_are_the_states_in_single_precision(random_vlm, noise_questions, layers, tokens):
    rows, skipped = measured(random_vlm, noise_questions, segments=PRESENT, layers=layers, tokens=tokens)
    assert skipped == []
    assert rows.schema == StatesProbe.table.schema
    count = 0
    for question in noise_questions:
        prompt = shown(random_vlm, question)
        own, decode = hidden(random_vlm, prompt), random_vlm.processor.tokenizer.decode
        of_question = rows.filter(question_id=question.id)
        assert of_question["segment"].unique(maintain_order=True).to_list() == PRESENT
        for segment in PRESENT:
            where = prompt.positions(segment)
            for layer in layers or range(-1, 3):
                found = of_question.filter(segment=segment, layer=layer)
                states = own[layer + 1][where]
                if tokens == "mean":
                    states = states.mean(0, keepdim=True)
                    assert found.select("position", "token").rows() == [(None, None)]
                else:
                    assert found["position"].to_list() == where.tolist()
                    texts = [decode(prompt.inputs["input_ids"][0, [each]]) for each in where]
                    assert found["token"].to_list() == texts
                np.testing.assert_allclose(np.array(found["states"].to_list()), states.numpy(), rtol=1e-7, atol=1e-9)
            count += len(layers or range(4)) * (1 if tokens == "mean" else len(where))
    assert len(rows) == count


def test_the_mean_of_half_precision_is_taken_in_single_precision(noise_questions):
    vlm = random_llava(layers=2, grid=3, dtype=torch.bfloat16)
    (alone, _), (mean, _) = (
        measured(vlm, noise_questions[:1], segments=["image"], tokens=tokens) for tokens in ("all", "mean")
    )
    for layer in range(-1, 2):
        states = np.array(alone.filter(layer=layer)["states"].to_list())
        assert (torch.tensor(states).bfloat16().double().numpy() == states).all()
        (found,) = mean.filter(layer=layer)["states"].to_list()
        assert found == pytest.approx(states.mean(0), rel=1e-6, abs=1e-7)
        assert (torch.tensor(found).bfloat16().double() != torch.tensor(found).double()).any()


def test_segments_that_a_prompt_lacks_are_left_out_with_their_reason(random_vlm, noise_questions):
    without = replace(noise_questions[0], objects=())
    rows, skipped = measured(random_vlm, [without], segments=["options", "last", "objects"])
    assert set(rows["segment"]) == {"last"}
    assert [(each.question, each.what) for each in skipped] == [("0", "options"), ("0", "objects")]
    assert all(each.reason.startswith(f"this prompt has no '{each.what}'") for each in skipped)
    with pytest.raises(NotApplicableError, match="no segment of the probe is in the prompt"):
        measured(random_vlm, [without], segments=["options"])
    # The summary has a line with the reason, and the means of the other segment.
    about = [{"question_id": each.question, "what": each.what, "reason": each.reason} for each in skipped]
    table = SKIPPED.frame([each | {"task": "T", "model": "m", "stage": "s"} for each in about])
    summary = summarise_model_task(StatesProbe.averaging, StatesProbe.table, rows, table, "m", "T")
    assert summary.filter(pl.col("mean").is_null()).select("segment", "questions", "note").rows() == [
        (each.what, 0, each.reason) for each in skipped
    ]
    assert summary.filter(segment="last")["layer"].to_list() == [-1, 0, 1, 2]


def test_a_segment_without_some_of_its_words_is_noted(random_vlm, noise_questions):
    both = replace(noise_questions[0], objects=(*noise_questions[0].objects, *noise_questions[1].objects))
    rows, skipped = measured(random_vlm, [both], segments=["objects"])
    assert len(rows) == 4
    assert [each.what for each in skipped] == ["part of objects"]
    assert isinstance(skipped[0], Skipped)
    assert "square" in skipped[0].reason


def test_the_summary_has_the_norm_of_the_states(random_vlm, noise_questions):
    for tokens in ("mean", "all"):
        rows, _ = measured(random_vlm, noise_questions, segments=["question", "last"], tokens=tokens)
        summary = summarise_model_task(
            StatesProbe.averaging, StatesProbe.table, rows.with_columns(task=pl.lit("T")), SKIPPED.frame([]), "m", "T"
        )
        for row in summary.to_dicts():
            norms = []
            for question in noise_questions:
                prompt = shown(random_vlm, question)
                states = hidden(random_vlm, prompt)[row["layer"] + 1][prompt.positions(row["segment"])]
                states = states.mean(0, keepdim=True) if tokens == "mean" else states
                norms.append(states.norm(dim=1).mean().item())
            assert row["mean"] == pytest.approx(np.mean(norms), rel=1e-6)
            assert (row["questions"], row["images"]) == (4, 3)
        assert len(summary) == 2 * 4


def test_states_that_are_no_numbers_cost_their_question(random_vlm, noise_questions, monkeypatch):
    record = random_vlm.record

    def broken(prompt):
        recording = record(prompt)
        with torch.inference_mode():
            recording.calls[1].hidden[0, -1, 0] = 1e300  # a number in float64 alone
        return recording

    monkeypatch.setattr(random_vlm, "record", broken)
    with pytest.raises(QuestionError, match="a state of 'last' is not a finite number in float32"):
        measured(random_vlm, noise_questions[:1])
    rows, _ = measured(random_vlm, noise_questions[:1], layers=[1, 2])
    assert len(rows) == 2, "the broken layer is not read"


def refusal(**settings):
    with pytest.raises(StudyError) as error:
        read_study(changed_demo("probes/flow", {"kind": "states"} | settings) | {"figures": {}, "claims": {}}, "s.yaml")
    return str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"segments": []}, "probes.flow.segments: List should have at least 1 item"),
        ({"segments": ["last", "last"]}, "probes.flow.segments: segment 'last' is given 2 times; give it once"),
        (
            {"segments": ["lsat"]},
            "probes.flow.segments.0: unknown segment 'lsat'; choose from image, related",
        ),
        (
            {"segments": ["sinks"]},
            "probes.flow.segments.0: segment 'sinks': this probe does not know which patches are sinks;",
        ),
        (
            {"segments": ["image", "caption"]},
            "probes.flow: no prompt has both 'image' and 'caption'; make two",
        ),
        ({"layers": []}, "probes.flow.layers: List should have at least 1 item"),
        ({"layers": [1, 1]}, "probes.flow.layers: layer 1 is given 2 times; give it once"),
        ({"layers": [-2]}, "probes.flow.layers.0: Input should be greater than or equal to -1, but it is -2"),
        ({"layers": "most"}, "probes.flow.layers: 'most': give a list of layers, or the word all"),
        ({"tokens": "last"}, "probes.flow.tokens: Input should be 'mean' or 'all', but it is 'last'"),
        ({"form": "pickle"}, "probes.flow.form: Input should be 'parquet' or 'safetensors', but it is 'pickle'"),
        ({"answers": "none"}, "probes.flow.answers: "),
    ],
)
def test_settings_that_have_no_meaning_are_refused(settings, message):
    assert message in refusal(**settings)


def test_a_layer_beyond_the_models_depth_is_refused_by_its_number():
    config = changed_demo("probes/flow", {"kind": "states", "layers": [3, 10]}) | {"figures": {}, "claims": {}}
    (problem,) = layer_problems(read_study(config, "s.yaml"))
    assert problem == (
        "probes.flow.layers: 10 is not one of the layers −1 to 9 of the model tiny-llava; give at most 9, or name "
        "other models in probes.flow.models"
    )
    with pytest.raises(ModelError, match=r"probes\.s\.layers: 3 is not one of the layers −1 to 2 of the model"):
        ProbeRun(random_llava(3), probe_of(layers=[3]), "s")
    assert ProbeRun(random_llava(3), probe_of(layers=[2]), "s")


def test_all_layers_and_all_answers_are_the_default():
    assert probe_of() == probe_of(layers="all") == probe_of(layers=None)
    assert (probe_of().segments, probe_of().tokens, probe_of().answers) == (["last"], "mean", "any")
    assert probe_of(layers=[5, -1, 2]).layers == [-1, 2, 5]
    assert probe_of().layers_required == {}
    assert probe_of(form="safetensors").measuring_settings == probe_of().measuring_settings
    assert probe_of(layers=[1]).measuring_settings != probe_of().measuring_settings


@pytest.mark.parametrize("segment", [name for name in SEGMENTS if name not in SINK_SEGMENTS])
def test_a_probe_needs_what_its_segments_need(segment):
    probe = probe_of(segments=[segment])
    rank = SEGMENTS[segment]
    assert probe.needs == ("captions" if segment == "caption" else "image" if rank < 2 else None)
    assert probe.needs_patches == ("patches" in segment)
    assert probe.values_measured("segment") == [segment]
    assert probe.cost(LARGE, 1).forwards == pytest.approx(1.3)


def test_the_cost_grows_with_the_numbers_that_are_written():
    def numbers(**settings):
        return probe_of(**settings).cost(LARGE, 1).numbers

    assert numbers(layers=[3]) == LARGE.width
    assert numbers(layers=[3, 4], segments=["last", "image"]) == 4 * LARGE.width
    every = numbers(layers=[3], segments=["image"], tokens="all")
    assert every == LARGE.image_tokens * LARGE.width
    assert numbers(segments=["image"], tokens="all") == 41 * every

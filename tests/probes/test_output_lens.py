"""The lens at the positions of segments, against the hidden states and the output of the model itself."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from support.paths import random_llava
from support.rows import shown
from vlmflow.analysis.summaries import summarise_model_task
from vlmflow.errors import OutOfMemoryError, QuestionError, RetryableQuestionError
from vlmflow.probes import OutputLensProbe
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.output_lens.measure import output_lens
from vlmflow.probes.run import ProbeRun
from vlmflow.tables import SKIPPED, Skipped

SEGMENTS = ["image", "question", "template", "last"]
PROMPTS = {"own": "{question}", "yes-no": "is the {object} red ?"}


def measured(context, question, **settings):
    return OutputLensProbe(kind="output-lens", **settings).measure(context, question)


@pytest.mark.oracle("output-lens")
def test_the_output_lens_equals_reading_the_models_own_hidden_states(random_vlm, probe_context, noise_questions):
    row = noise_questions[0]
    found = measured(probe_context, row, prompts=PROMPTS, segments=SEGMENTS)
    assert found["prompt"].unique(maintain_order=True).to_list() == list(PROMPTS)
    assert found["segment"].unique(maintain_order=True).to_list() == SEGMENTS
    for name, text in PROMPTS.items():
        prompt = shown(random_vlm, row, text.format(question=row.text, object="circle"))
        with torch.no_grad():
            output = random_vlm.model(**prompt.inputs, output_hidden_states=True)
            *inner, last = (states[0] for states in output.hidden_states)
            # transformers' own hidden states: all but the last are before the norm.
            read = [random_vlm.unembedding(random_vlm.norm(each)) for each in inner] + [random_vlm.unembedding(last)]
        said = output.logits[0].argmax(-1)
        for segment in SEGMENTS:
            rows = found.filter((pl.col("prompt") == name) & (pl.col("segment") == segment))
            assert rows["layer"].to_list() == [-1, 0, 1, 2]
            positions = prompt.positions(segment).tolist()
            for row_of_layer, logits in zip(rows.to_dicts(), read, strict=True):
                shares = logits[positions].softmax(-1).numpy()
                bits = np.mean([-sum(p * np.log2(p)) for p in shares])
                same = np.mean([logits[position].argmax() == said[position] for position in positions])
                assert row_of_layer["entropy"] == pytest.approx(bits, abs=1e-9)
                assert row_of_layer["agreement"] == pytest.approx(100 * same, abs=1e-9)
    # The model is random: its states do not predict the output all along.
    assert found["agreement"].min() < 50


def test_all_positions_agree_after_the_last_layer(probe_context, noise_questions):
    for row in noise_questions:
        found = measured(probe_context, row, segments=SEGMENTS)
        assert set(found.filter(pl.col("layer") == 2)["agreement"]) == {100.0}


def test_prompts_are_measured_independently(probe_context, noise_questions):
    together = measured(probe_context, noise_questions[0], prompts=PROMPTS)
    for name, text in PROMPTS.items():
        alone = measured(probe_context, noise_questions[0], prompts={name: text})
        assert alone.equals(together.filter(pl.col("prompt") == name))
    asked = output_lens(
        probe_context, noise_questions[0], dict(reversed(PROMPTS.items())), ["image", "question", "last"]
    )
    assert asked.sort("prompt", maintain_order=True).equals(together.sort("prompt", maintain_order=True))
    # Text after the image cannot change its tokens in a causal decoder.
    image = together.filter(pl.col("segment") == "image").drop("agreement")
    first, second = (image.filter(pl.col("prompt") == name)["entropy"].to_list() for name in PROMPTS)
    assert first == pytest.approx(second, abs=1e-12)


def test_prompts_that_do_not_apply_are_left_out(probe_context, noise_questions):
    row = replace(noise_questions[0], objects=())
    found = measured(probe_context, row, prompts=PROMPTS)
    assert set(found["prompt"]) == {"own"}
    why = "the question has no object that could replace {object} in 'is the {object} red ?'"
    assert probe_context.skipped == [Skipped("0", "prompt yes-no", why)]
    with pytest.raises(QuestionError, match="no prompt of the probe applies to this question"):
        measured(probe_context, row, prompts={"yes-no": PROMPTS["yes-no"]})
    # A prompt is no line of the figure, so that the summary has no row for it.
    summary = summary_of(OutputLensProbe(kind="output-lens", prompts=PROMPTS), row, found, probe_context.skipped)
    assert set(summary["segment"]) == {"image", "question", "last"}
    assert summary["note"].null_count() == len(summary)


@pytest.fixture(scope="module")
def bare_vlm():
    """A model whose prompt ends with the question, so that it has no template."""
    vlm = random_llava(layers=3, grid=3)
    vlm.processor.chat_template = "{% for part in messages[0].content %}{{ part.text or '<image>' }}{% endfor %}"
    return vlm


NO_TEMPLATE = Skipped("0", "template", "the prompt own has no such segment: no token is left for it")


def summary_of(probe, row, found, left_out):
    about = {"task": "T", "question_id": row.id, "image_id": row.image_id}
    rows = probe.table.frame(found.with_columns(**{name: pl.lit(value) for name, value in about.items()}))
    skipped = SKIPPED.frame(
        [
            {"stage": "p", "model": "m", "task": "T", "question_id": each.question}
            | {"what": each.what, "reason": each.reason}
            for each in left_out
        ]
    )
    return summarise_model_task(probe.averaging, probe.table, rows, skipped, "m", "T")


def test_a_segment_that_a_prompt_lacks_is_left_out_with_its_reason(bare_vlm, noise_questions):
    probe, row = (
        OutputLensProbe(kind="output-lens", prompts={"own": "{question}"}, segments=SEGMENTS),
        noise_questions[0],
    )
    context = ProbeContext(bare_vlm)
    found = probe.measure(context, row)
    assert found["segment"].unique(maintain_order=True).to_list() == ["image", "question", "last"]
    assert context.skipped == [NO_TEMPLATE]
    summary = summary_of(probe, row, found, context.skipped)
    absent = summary.filter(pl.col("mean").is_null())
    assert absent.select("segment", "questions", "note").rows() == [("template", 0, NO_TEMPLATE.reason)]
    without = OutputLensProbe(kind="output-lens").measure(ProbeContext(bare_vlm), row)
    assert without.drop("prompt").equals(found.drop("prompt")), "the others are measured as without it"


def test_a_prompt_with_none_of_the_segments_is_left_out(bare_vlm, noise_questions):
    context = ProbeContext(bare_vlm)
    with pytest.raises(QuestionError, match="no prompt of the probe applies to this question"):
        measured(context, noise_questions[0], segments=["template"])
    assert context.skipped == [Skipped("0", "prompt question", "it has none of the segments template")]


def test_states_that_are_no_numbers_cost_their_prompt(random_vlm, probe_context, noise_questions, monkeypatch):
    record = random_vlm.record

    def broken(prompt):
        recording = record(prompt)
        with torch.inference_mode():
            recording.calls[1].hidden[0, -1, 0] = torch.nan
        return recording

    monkeypatch.setattr(random_vlm, "record", broken)
    with pytest.raises(QuestionError, match="no prompt of the probe applies to this question"):
        measured(probe_context, noise_questions[0])
    assert "logits are not finite numbers" in probe_context.skipped[-1].reason


def test_too_little_memory_does_not_cost_a_prompt(random_vlm, noise_questions, monkeypatch):
    def record(prompt):
        raise OutOfMemoryError("not even the smallest batch")

    monkeypatch.setattr(random_vlm, "record", record)
    run = ProbeRun(random_vlm, OutputLensProbe(kind="output-lens"), "o", questions=noise_questions)
    with pytest.raises(RetryableQuestionError):
        run.measure(noise_questions[0])
    assert run.skipped == []


def test_few_states_at_a_time_are_read_as_all_are(random_vlm, probe_context, noise_questions, monkeypatch):
    found = measured(probe_context, noise_questions[0])
    read = []
    vlm_read = random_vlm._read_some
    monkeypatch.setattr(random_vlm, "read_batch_size", SimpleNamespace(run=lambda work, most: work(min(most, 3))))
    monkeypatch.setattr(random_vlm, "_read_some", lambda *given: read.append(given[3]) or vlm_read(*given))
    again = measured(probe_context, noise_questions[0])
    assert max(read) == 3
    assert again["entropy"].to_list() == pytest.approx(found["entropy"].to_list(), abs=1e-12)
    assert again["agreement"].equals(found["agreement"])

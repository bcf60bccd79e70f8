"""Loss with fewer of the image's tokens, and without some places, against forwards that never see them."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from support.bidirectional import gemma_3, looking_ahead, pali_gemma
from support.noise import noise_image
from support.paths import TINY_LLAVA, random_llava
from support.rows import QUESTIONS, shown
from support.tiny_models import build_model, build_processor
from vlmflow.engine.interventions import AttentionKnockout
from vlmflow.engine.plain import plain
from vlmflow.errors import GeometryError, InterventionError, QuestionError
from vlmflow.models.load import load_model
from vlmflow.notebook import VisionLanguageModel
from vlmflow.probes.answer_loss import ReferenceAnswer, intact_loss, loss_without, losses_without, reference_answer
from vlmflow.probes.budget import ALL_TOKENS, numbers_kept
from vlmflow.probes.budget.measure import budget, chosen
from vlmflow.probes.context import ProbeContext
from vlmflow.probes.occlusion.measure import cells_of, occlusion
from vlmflow.probes.similarity.measure import similarity
from vlmflow.prompts.layouts.patch_maps import PatchMaps
from vlmflow.prompts.layouts.registry import find_patch_map


def directly(vlm, prompt, answer, kept):
    """Loss of an answer, from embeddings of which some of the image's are taken out, the others in their places."""
    ids = torch.cat([prompt.inputs["input_ids"], torch.tensor([answer])], dim=1)
    inputs = prompt.inputs | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    given_ = []
    decoder = vlm.model.get_decoder()
    handle = decoder.register_forward_pre_hook(
        lambda _m, _a, kwargs: given_.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    with torch.no_grad():
        vlm.model(**inputs)
        handle.remove()
        image = prompt.positions("image")
        stay = [i for i in range(ids.shape[1]) if i not in set(image.tolist()) or i in set(image[kept].tolist())]
        states = decoder(inputs_embeds=given_[0][:, stay], position_ids=torch.tensor([stay])).last_hidden_state
        logits = vlm.unembedding(states)[0].log_softmax(-1)
    places_ = range(len(stay) - len(answer) - 1, len(stay) - 1)
    return -np.mean([logits[place, token].item() for place, token in zip(places_, answer, strict=True)])


@settings(max_examples=25, deadline=None)
@given(kept=st.sets(st.integers(0, 8)), answer=st.lists(st.integers(5, 20), min_size=1, max_size=3))
def test_dropping_equals_leaving_embeddings_out_and_blocking(kept, answer):
    vlm = random_llava(layers=3, grid=3, heads=4, key_heads=2)
    prompt = vlm.prompt(noise_image(12, 5), QUESTIONS[0])
    asked = reference_answer(vlm, prompt, vlm.processor.tokenizer.decode(answer), answer)
    assert asked.token_ids == answer
    image = prompt.positions("image")
    dropped = image[[token for token in range(9) if token not in kept]]
    expected = directly(vlm, prompt, answer, sorted(kept))
    recording = vlm.record(asked.prompt)
    assert loss_without(vlm, asked, recording, dropped) == pytest.approx(expected, abs=1e-9)
    if len(dropped):
        assert losses_without(vlm, asked, recording, [dropped]) == [pytest.approx(expected, abs=1e-9)]
    else:
        assert intact_loss(vlm, asked, recording) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", ["llava", "llava_next"])
def test_dropping_equals_the_plain_method_on_the_papers_architectures(kind):
    texts = [QUESTIONS[0], "red", "blue"]
    processor = build_processor(kind, "vicuna_v1", texts)
    vlm = VisionLanguageModel(build_model(kind, processor, "red").double(), processor)
    prompt = vlm.prompt(noise_image(100, 3), QUESTIONS[0])
    asked = reference_answer(vlm, prompt, "blue", vlm.answer(prompt).token_ids)
    image, recording = prompt.positions("image"), vlm.record(asked.prompt)
    for dropped in (image[::2], image[4:], image[:3]):
        later = torch.arange(int(dropped[0]) + 1, len(asked.prompt))
        later = later[~torch.isin(later, dropped)]
        states = plain(
            vlm.model,
            vlm.layers,
            asked.prompt.inputs,
            [AttentionKnockout(dropped, later, 0, 3)],
            positions=asked.positions,
        )
        log = vlm.logits(states[0]).log_softmax(-1)
        expected = -np.mean([log[i, token].item() for i, token in enumerate(asked.token_ids)])
        assert loss_without(vlm, asked, recording, dropped) == pytest.approx(expected, abs=1e-9)
        assert losses_without(vlm, asked, recording, [dropped]) == [pytest.approx(expected, abs=1e-9)]


@pytest.mark.parametrize("build", [pali_gemma, gemma_3])
def test_losses_without_cells_hold_where_image_tokens_attend_to_each_other(build):
    """Nothing of a hidden cell reaches the answer by way of the tokens before it, and no answer sees what follows."""
    vlm, prompt = looking_ahead(build)
    answers = [[7, 8, 9], [7, 8, 11]]
    longer = [vlm.continue_prompt(prompt, answer) for answer in answers]
    with torch.no_grad():
        first, other = (vlm.model(**each.inputs).logits[0, len(prompt) - 1 : len(prompt) + 2] for each in longer)
        alone = vlm.model(**prompt.inputs).logits[0, -1]
    torch.testing.assert_close(first, other)
    torch.testing.assert_close(first[0], alone)
    asked = ReferenceAnswer(vlm.continue_prompt(prompt, answers[0][:-1]), answers[0])
    recording, image = vlm.record(asked.prompt), prompt.positions("image")
    for cell in (image[:3], image[3:6], image[6:], image[4:5], image):
        assert losses_without(vlm, asked, recording, [cell]) == [
            pytest.approx(loss_without(vlm, asked, recording, cell), abs=1e-9)
        ]
    assert loss_without(vlm, asked, recording, image[:0]) == pytest.approx(intact_loss(vlm, asked, recording))


def test_a_model_that_changes_states_between_its_layers_cannot_do_without_some(random_vlm, noise_questions):
    """As Qwen3-VL, which adds the image's features to states of later layers as well."""
    changing = random_llava(layers=3, grid=3)

    def change(module, args, kwargs):
        return (args[0] + torch.arange(args[0].shape[1])[:, None], *args[1:]), kwargs

    changing.layers[1].register_forward_pre_hook(change, with_kwargs=True)
    context = ProbeContext(changing, questions=noise_questions)
    with pytest.raises(QuestionError, match="no prompt of the probe applies to this question"):
        budget(context, noise_questions[0], prompts={"own": "{question}"}, keep=["first"], draws=1)
    assert context.skipped[0].what == "prompt own"
    assert "changes states between its layers" in context.skipped[0].reason


def test_the_reference_is_written_as_the_model_writes():
    vlm = load_model(TINY_LLAVA)
    prompt = vlm.prompt(noise_image(96, 0), "Is the circle red or blue?")
    tokens = vlm.processor.tokenizer.convert_tokens_to_ids
    assert reference_answer(vlm, prompt, "red", [tokens("Red")]).token_ids == [tokens("Red")]
    assert reference_answer(vlm, prompt, "blue", [tokens("Red")]).token_ids == [tokens("Blue")]
    assert reference_answer(vlm, prompt, "blue", [tokens("red")]).token_ids == [tokens("blue")]
    asked = reference_answer(vlm, prompt, "left right", [tokens("red")])
    assert len(asked.prompt) == len(prompt) + 1
    assert asked.positions.tolist() == [len(prompt) - 1, len(prompt)]


@pytest.mark.oracle("budget")
def test_budgets_equal_a_forward_per_number_of_tokens(random_vlm, probe_context, noise_questions):
    prompts = {"own": "{question}", "please": "the image , {question}", "none": "is {object} red ?"}
    row = replace(noise_questions[0], objects=())
    found = budget(probe_context, row, prompts=prompts, keep=["first", "spread", "random"], draws=2)
    assert [(each.question, each.what) for each in probe_context.skipped] == [("0", "prompt none")]
    assert set(found["prompt"]) == {"own", "please"}
    for name, text in (("own", row.text), ("please", f"the image , {row.text}")):
        prompt = shown(random_vlm, row, text)
        asked = reference_answer(random_vlm, prompt, row.answer, row.token_ids)
        for way in ("first", "spread", "random"):
            mine = found.filter((pl.col("prompt") == name) & (pl.col("keep") == way)).sort("tokens_kept")
            assert mine["tokens_requested"].to_list() == [0, 1, 2, 4, 8, ALL_TOKENS]
            assert mine["tokens_kept"].to_list() == [0, 1, 2, 4, 8, 9]
            for number, kept, loss in mine.select("tokens_requested", "tokens_kept", "loss").iter_rows():
                draws = [range(kept)] if kept in (0, 9) else chosen(way, number, 9, 2, row.id)
                losses = [directly(random_vlm, prompt, asked.token_ids, list(some)) for some in draws]
                assert loss == pytest.approx(np.mean(losses), abs=1e-9)
    again = budget(probe_context, row, prompts=prompts, keep=["random"], draws=2)
    assert again.equals(found.filter(pl.col("keep") == "random"))


@given(tokens=st.integers(1, 3000), seed=st.text(max_size=5))
def test_kept_tokens_are_first_spread_or_random(tokens, seed):
    for number in numbers_kept(tokens):
        assert number < tokens
        for way in ("first", "spread", "random"):
            draws = chosen(way, number, tokens, 2, seed)
            assert len(draws) == (2 if way == "random" else 1)
            for some in draws:
                assert len(set(some)) == len(some) == number
                assert some == sorted(some)
                assert 0 <= some[0] <= some[-1] < tokens
        assert chosen("first", number, tokens, 1, seed) == [list(range(number))]
        gaps = np.diff(chosen("spread", number, tokens, 1, seed)[0])
        assert len(gaps) == 0 or max(gaps) - min(gaps) <= 1
    assert numbers_kept(1) == []
    assert numbers_kept(576)[-1] == 512
    assert numbers_kept(512)[-1] == 256


@pytest.mark.oracle("occlusion")
def test_occlusion_equals_a_forward_per_cell(random_vlm, probe_context, noise_questions):
    row = noise_questions[0]
    prompt = shown(random_vlm, row)
    found = occlusion(probe_context, row, prompt, 3).row(0, named=True)
    answer = reference_answer(random_vlm, prompt, row.answer, row.token_ids).token_ids
    intact = directly(random_vlm, prompt, answer, list(range(9)))
    assert found["loss"] == pytest.approx(intact, abs=1e-9)
    assert found["grid"] == 3
    for cell, growth in enumerate(found["loss_increase"]):
        without = directly(random_vlm, prompt, answer, [token for token in range(9) if token != cell])
        assert growth == pytest.approx(without - intact, abs=1e-9)
    with pytest.raises(
        GeometryError, match="cells hold no patch, since the image has 3 × 3 patches; give a smaller grid"
    ):
        occlusion(probe_context, row, prompt, 4)


@settings(max_examples=20, deadline=None)
@given(width=st.integers(20, 200), height=st.integers(20, 200), grid=st.integers(2, 3))
def test_every_patch_is_in_one_cell(width, height, grid, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "image.png"
    Image.new("RGB", (width, height)).save(path)
    processor = build_processor("llava_next", "vicuna_v1", ["a b"])
    found = find_patch_map(processor, (width, height))
    try:
        cells = cells_of(PatchMaps(processor), str(path), grid)
    except GeometryError:
        assert any(min(view.rows, view.columns) < grid for view in found.views)
        return
    tokens = sorted(token for cell in cells for token in cell.tolist())
    assert tokens == sorted(set(range(found.tokens)) - set(found.no_patch))
    for number, cell in enumerate(cells):
        row, column = divmod(number, grid)
        # Every patch's middle lies in its cell of the image.
        for view in found.views:
            for (line, place), token in np.ndenumerate(view.tokens):
                if token in cell:
                    x = ((place + 0.5) * view.patch - view.shift_x) / view.scale_x / width * grid
                    y = ((line + 0.5) * view.patch - view.shift_y) / view.scale_y / height * grid
                    assert column - 1e-6 <= x <= column + 1 + 1e-6
                    assert row - 1e-6 <= y <= row + 1 + 1e-6


def test_losses_that_are_no_numbers_are_an_error(noise_questions):
    broken = random_llava(layers=3, grid=3)
    with torch.no_grad():
        broken.layers[0].mlp.down_proj.weight[0, 0] = float("nan")
    context = ProbeContext(broken, questions=noise_questions)
    with pytest.raises(QuestionError, match="no prompt of the probe applies to this question"):
        similarity(context, noise_questions[0], {"own": "{question}"}, 1)
    assert "not finite numbers" in context.skipped[0].reason
    with pytest.raises(InterventionError, match="not finite"):
        occlusion(context, noise_questions[0], shown(broken, noise_questions[0]), 3)

"""What suffices: sets of edges that are kept, against full forwards with masks written here; and the search."""

import dataclasses

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from support.compared_families import model
from support.noise import noise_image
from support.paths import random_llava
from support.planted import scene
from support.questions import make_question
from vlmflow.calibration.planted import QUESTION, RELATED_BITS, Copy, Plant, build_planted
from vlmflow.errors import ModelError, NotApplicableError
from vlmflow.probes import PathwayProbe
from vlmflow.probes.pathway import SEARCHED_EDGES, layer_blocks
from vlmflow.probes.pathway.kept import Cell, Regions
from vlmflow.probes.pathway.measure import pathway
from vlmflow.probes.pathway.search import Kept, smallest_set
from vlmflow.probes.run import ProbeRun

LAYERS = 3


def prompt_of(vlm):
    return vlm.prompt(noise_image(12, 3), "what color is the circle , red or blue ?", options=("red", "blue"))


def by_masks(vlm, prompt, cells):
    """Log-probabilities at the last position, with one mask per layer: each pair of positions is decided by itself."""
    length, first = len(prompt), int(prompt.positions("image")[0])
    question, last = prompt.positions("question"), length - 1

    def region(position):
        if position < first:
            return None
        if position == last:
            return "last"
        if position < question[0]:
            return "image"
        return "question" if position <= question[-1] else "template"

    def members(segment):
        names = ("image", "question", "template", "last")
        if segment in names:
            return {position for position in range(length) if region(position) == segment}
        return set(prompt.positions(segment).tolist())

    def mask_of(layer):
        mask = torch.full((length, length), torch.finfo(torch.float64).min, dtype=torch.float64)
        kept = [cell.edge.split(" -> ") for cell in cells if cell.start <= layer < cell.stop]
        ends = [(members(source), members(target)) for source, target in kept]
        for query in range(length):
            for key in range(query + 1):
                same = region(key) is None or region(key) == region(query)
                if same or any(key in source and query in target for source, target in ends):
                    mask[query, key] = 0
        return mask[None, None]

    def block(number):
        return lambda _layer, args, kwargs: (args, kwargs | {"attention_mask": mask_of(number)})

    handles = [layer.register_forward_pre_hook(block(n), with_kwargs=True) for n, layer in enumerate(vlm.layers)]
    logits = vlm.model(**prompt.inputs).logits[0, -1]
    for handle in handles:
        handle.remove()
    return logits.log_softmax(-1)


EDGES = [*SEARCHED_EDGES, "options -> last", "related patches -> question"]
CELLS = st.builds(
    lambda edge, ends: Cell(edge, min(ends), max(ends) + 1),
    st.sampled_from(EDGES[:-1]),
    st.tuples(st.integers(0, LAYERS - 1), st.integers(0, LAYERS - 1)),
)


@pytest.mark.oracle("pathway")
@settings(max_examples=5)
@given(seed=st.integers(0, 10**6), sets=st.lists(st.lists(CELLS, max_size=4), min_size=1, max_size=4))
def test_sets_that_are_kept_by_masks(seed, sets):
    vlm = random_llava(LAYERS, 3, seed=seed)
    prompt = prompt_of(vlm)
    everything = [Cell(edge, 0, LAYERS) for edge in SEARCHED_EDGES]
    named = {str(number): cells for number, cells in enumerate([*sets, everything])}
    found = pathway(vlm, prompt, named)
    intact = vlm.model(**prompt.inputs).logits[0, -1].log_softmax(-1)
    answer = int(intact.argmax())
    for row in found.iter_rows(named=True):
        after = by_masks(vlm, prompt, named[row["keep"]])
        assert row["log_prob_answer"] == pytest.approx(after[answer].item(), rel=1e-9)
        assert (row["flips"] == 100) == (int(after.argmax()) != answer)
    assert found["log_prob"][-1] == pytest.approx(0, abs=1e-12)  # nothing is blocked


def test_regions_are_everything_from_the_image_on():
    vlm = random_llava(LAYERS, 3)
    prompt = prompt_of(vlm)
    regions = Regions(prompt, vlm.record(prompt).may_attend.in_any_layer).positions
    assert torch.cat(list(regions.values())).tolist() == list(range(int(prompt.positions("image")[0]), len(prompt)))
    assert regions["question"].tolist() == prompt.positions("question").tolist()
    assert regions["last"].tolist() == prompt.positions("last").tolist()


def test_a_question_before_the_image_has_no_such_regions():
    vlm = random_llava(LAYERS, 3)
    prompt = prompt_of(vlm)
    turned = dataclasses.replace(prompt, segments=prompt.segments | {"image": prompt.positions("last")})
    with pytest.raises(NotApplicableError, match="the question comes before the image"):
        Regions(turned, vlm.record(prompt).may_attend.in_any_layer)


def test_an_image_that_attends_to_the_question_does_not_do_so_either():
    """In PaliGemma, image and question attend to each other; if only the image reaches the last position, no word of
    the question does so by way of the image."""
    vlm = model("PaliGemma")
    states = []
    for word in ("red", "blue"):
        prompt = vlm.prompt(Image.new("RGB", (30, 30)), f"is the circle {word} ?")
        recording = vlm.record(prompt)
        assert recording.may_attend.in_any_layer[prompt.positions("image")][:, prompt.positions("question")].any()
        layers = len(vlm.layers)
        kept = Regions(prompt, recording.may_attend.in_any_layer).intervention(
            [Cell("image -> last", 0, layers)], layers
        )
        states.append(vlm.replay(recording, [kept])[0, 0])
    assert len(states[0])
    assert (states[0] - states[1]).abs().max() / states[0].abs().max() < 1e-9


# --- the search ---


@settings(max_examples=60)
@given(data=st.data())
def test_the_smallest_set_keeps_enough_and_needs_each_of_its_cells(data):
    """Each question is answered by any of its routes; a route is a set of cells that must all be there."""
    cells = [Cell("image -> last", layer, layer + 1) for layer in range(data.draw(st.integers(1, 7)))]
    routes = st.lists(st.sets(st.sampled_from(cells), max_size=3), min_size=1, max_size=3)
    questions = data.draw(st.lists(routes, min_size=2, max_size=12))
    keep = data.draw(st.sampled_from([50.0, 80.0, 95.0, 100.0]))

    def measure(sets):
        answers = [[any(route <= set(kept) for route in question) for kept in sets] for question in questions]
        return Kept(np.array(answers), np.where(answers, 0.0, -1.0))

    def share(kept):
        return 100 * measure([kept]).answers.mean()

    found = smallest_set(cells, measure, keep)
    assert sorted(found.order, key=lambda cell: cell.start) == cells
    assert share(found.cells) >= keep
    for cell in found.cells:
        assert share([other for other in found.cells if other != cell]) < keep


def planted_questions(vlm, folder, copies=2):
    questions = []
    for number, bits in enumerate(RELATED_BITS * copies):
        shown = scene(bits)
        shown.image.save(folder / f"{number}.png")
        question = make_question(
            id=str(number), image_id=str(number), image=str(folder / f"{number}.png"), text=QUESTION
        )
        answer = vlm.answer(vlm.prompt(shown.image, QUESTION)).token_ids
        questions.append(dataclasses.replace(question, token_ids=answer))
    return questions


def found_cells(rows):
    path = rows.filter(pl.col("keep") == "path", "smallest")
    return set(path.select("edge", "layer", "until").iter_rows())


@pytest.mark.planted("pathway")
@pytest.mark.parametrize(("layers", "related", "last"), [(4, 1, 2), (3, 0, 2)])
def test_the_planted_path_is_the_smallest_set(tmp_path, layers, related, last):
    vlm = build_planted(Plant.through_question(layers, related, last))
    questions = planted_questions(vlm, tmp_path)
    probe = PathwayProbe(kind="pathway", search={"blocks": layers})
    run = ProbeRun(vlm, probe, "p", questions=questions)
    rows = pl.concat([run.measure(question) for question in questions])
    assert found_cells(rows) == {("image -> question", related, related), ("question -> last", last, last)}
    assert set(rows["half"]) == {"search", "confirm"}
    kept = rows.filter(pl.col("keep") == "path")
    assert (kept.filter(pl.col("cells") >= 2)["flips"] == 0).all()
    # Without one of the two, every answer becomes the same guess.
    lost = rows.filter(pl.col("keep") == "without")
    assert lost["change"].max() < -45
    assert set(lost["edge"]) == {"image -> question", "question -> last"}


def test_one_of_two_redundant_paths_is_enough(tmp_path):
    copies = (Copy("related patches", "question", 0), Copy("question", "last", 3), Copy("image", "last", 2))
    vlm = build_planted(Plant(copies, 4))
    questions = planted_questions(vlm, tmp_path)
    probe = PathwayProbe(
        kind="pathway",
        search={"blocks": 2},
        keep={
            "through the question": {"image -> question": {"layers": [0, 1]}, "question -> last": "all"},
            "too late": {"image -> question": {"share": [0.5, 1]}, "question -> last": "all"},
        },
    )
    rows = ProbeRun(vlm, probe, "p", questions=questions).measure(questions[0])
    assert found_cells(rows) == {("image -> last", 2, 3)}
    named = {row["keep"]: row for row in rows.iter_rows(named=True) if row["half"] == "all"}
    assert named["through the question"]["flips"] == 0
    assert named["too late"]["change"] < -45


def test_every_measurement_depends_on_the_questions_of_the_search(tmp_path):
    questions = [make_question(id=str(n), image_id=str(n), text="?", image="i.png") for n in range(20)]
    probe = PathwayProbe(kind="pathway", search={"questions": 4})
    searched = probe.others(questions)["7"]
    assert len(searched) == 4
    more = [*questions, make_question(id="x", image_id="x", text="?", image="i.png")]
    assert probe.others(more) == dict.fromkeys([*map(str, range(20)), "x"], searched)
    assert PathwayProbe(kind="pathway", keep={"a": {"image -> last": "all"}}).others(questions) == {}


# --- settings ---


@pytest.mark.parametrize(("layers", "blocks", "sizes"), [(32, 8, [4] * 8), (7, 3, [2, 3, 2]), (2, 8, [1, 1])])
def test_blocks_of_layers(layers, blocks, sizes):
    found = layer_blocks(layers, blocks)
    assert [len(block) for block in found] == sizes
    assert [layer for block in found for layer in block] == list(range(layers))


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({}, "keep, search: give at least one of the two"),
        ({"keep": {"path": {"image -> last": "all"}}}, "keep.path: this name has a meaning in the table"),
        ({"keep": {"a": {"image -> last": {}}}}, "give either layers"),
        (
            {"keep": {"a": {"image -> last": {"layers": [5, 3]}}}},
            r"layers: \[5, 3\]: give the first and the last layer",
        ),
        ({"keep": {"a": {"image -> last": {"layers": [-1, 3]}}}}, r"layers: \[-1, 3\]: .* from 0 on"),
        ({"keep": {"a": {"image -> last": {"share": [0, 50]}}}}, r"share: \[0, 50\]: give two shares from 0 to 1"),
        ({"keep": {"a": {"image -> last": {"share": [0.5, 0.5]}}}}, r"share: \[0.5, 0.5\]: .* the smaller one first"),
        ({"keep": {"a": {"sinks -> last": "all"}}}, "segment 'sinks': only a knockout knows which patches are sinks"),
        ({"keep": {"a": {"last -> image": "all"}}}, "'last' comes after 'image'"),
    ],
)
def test_settings_that_have_no_meaning_are_refused(given_, message):
    with pytest.raises(ValueError, match=message):
        PathwayProbe(kind="pathway", **given_)


def test_layers_beyond_the_model_are_refused():
    probe = PathwayProbe(kind="pathway", keep={"a": {"image -> last": {"layers": [0, 4]}}})
    with pytest.raises(ModelError, match=r"keep\.a\.image -> last\.layers: 4 is not one of the layers 0 to 2"):
        ProbeRun(random_llava(LAYERS), probe, "p")


def test_a_share_of_the_depth_is_the_nearest_layers():
    probe = PathwayProbe(kind="pathway", keep={"a": {"image -> last": {"share": [0, 0.5]}}})
    (kept,) = probe.keep["a"].values()
    assert kept.of(32) == range(16)
    assert kept.of(5) == range(3)


def test_what_does_not_apply_is_left_out(tmp_path):
    vlm = random_llava(2, 3)
    Image.new("RGB", (12, 12)).save(tmp_path / "i.png")
    question = make_question(
        id="q", image_id="i", text="what color is it ?", image=str(tmp_path / "i.png"), token_ids=[7]
    )
    keep = {"a": {"options -> last": "all", "image -> last": "all"}, "b": {"image -> last": "all"}}
    run = ProbeRun(vlm, PathwayProbe(kind="pathway", keep=keep, search={}), "p", questions=[question])
    rows = run.measure(question)
    skipped = {each.what: each.reason for each in run.skipped}
    assert skipped["a"] == "its edge options -> last does not apply to this question"
    assert "options -> last" in skipped
    # Whether its only image is in the half of the search depends on its id alone.
    assert set(rows["keep"]) in ({"b"}, {"b", "path", "without"}, {"b", "path"})
    assert ("search" in skipped) == (set(rows["keep"]) == {"b"})
    only = ProbeRun(vlm, PathwayProbe(kind="pathway", keep={"a": keep["a"]}), "p")
    with pytest.raises(NotApplicableError, match="no set of edges of the probe applies"):
        only.measure(question)

"""Boxes that are none, and words that are not in the question: each costs the edges of its segment alone."""

import pytest
from PIL import Image

from support.questions import make_question, of_task
from support.questions import thing as an_object
from support.scene_files import files_of, read_files
from vlmflow.analysis.summaries import summarise_model_task
from vlmflow.data.base import ImageSource
from vlmflow.data.fetch.images import with_images
from vlmflow.data.sampling import usable_questions
from vlmflow.errors import QuestionError
from vlmflow.jobs.job import for_each_question
from vlmflow.probes import KnockoutProbe
from vlmflow.probes.answer import answer_question
from vlmflow.probes.question import Question
from vlmflow.probes.run import ProbeRun
from vlmflow.prompts.layouts.patch_maps import PatchMaps
from vlmflow.prompts.patch_row import patch_row
from vlmflow.study import Task
from vlmflow.tables import CANDIDATES, PATCHES, QUESTIONS, SKIPPED


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((200, 10, 5, 5), "lies outside of the image, which has 96 × 96 pixels"),
        ((10, -20, 5, 5), "lies outside of the image"),
        ((96, 10, 5, 5), "lies outside of the image"),
        ((10, 10, 0, 5), "has no area"),
        ((10, 10, 5, -5), "has no area"),
        ((float("nan"), 10, 5, 5), "is not four finite numbers"),
        ((10, 10, float("inf"), 5), "is not four finite numbers"),
        ((1.7e308, 10, 1.7e308, 5), "is not four finite numbers"),
        ((1.7e308, 10, 5, 5), "lies outside of the image"),
        ((-20, -20, 35, 35), None),
        ((80, 80, 1e300, 1e300), None),
    ],
)
@pytest.mark.parametrize("rule", ["overlap", "painted"])
def test_an_invalid_box_costs_only_the_edges_of_patches(scene_folder, tiny_processor, tiny_llava, box, reason, rule):
    """From the scene graph to the patches; without them the question is asked all the same, and its edges measured."""
    questions, graphs = files_of(scene_folder)
    name = next(name for name, entry in questions.items() if entry["types"]["structural"] == "query")
    graph = graphs[questions[name]["imageId"]]
    for thing in graph["objects"].values():
        thing |= dict(zip("xywh", box, strict=True))
    problems, _ = read_files(scene_folder, questions, graphs)
    assert problems[name] is None
    table, _ = usable_questions(QUESTIONS.read(scene_folder / "q.parquet"), "T", Task(structural="query"))
    kept, _ = with_images(CANDIDATES.frame(table), ImageSource(str(scene_folder / "images")), task="T")
    rows, skipped = for_each_question(
        of_task(kept, "T"), lambda row: patch_row(PatchMaps(tiny_processor), row, rule), stage="patches", model="m"
    )
    patches = {row["question_id"]: row["related"] for row in PATCHES.frame(rows).to_dicts()}
    reasons = dict(SKIPPED.frame(skipped).select("question_id", "reason").rows())
    assert patches.keys() | reasons.keys() == set(kept["question_id"])
    assert len(patches) > 0, "other questions go on"
    if reason is None:  # what lies inside counts: a corner of the image, one patch of 16 pixels
        assert patches[name] == ([0] if box[0] < 0 else [35])
        return
    assert reason in reasons[name]
    row = of_task(kept, "T").filter(question_id=name).row(0, named=True) | {"related": None}
    row |= {"token_ids": answer_question(tiny_llava, Question.of(row))["token_ids"]}
    probe = KnockoutProbe(kind="knockout", window=1, edges=["related patches -> last", "image -> last"])
    run = ProbeRun(tiny_llava, probe, "flow")
    assert set(run.measure(Question.of(row)).select("task", "edge").rows()) == {("T", "image -> last")}
    assert [(each.question, each.what) for each in run.skipped] == [(name, "related patches -> last")]


def test_options_and_objects_that_are_not_in_the_question_cost_only_their_edges(scene_folder, tiny_llava):
    questions, graphs = files_of(scene_folder)
    name, entry = next((n, e) for n, e in questions.items() if e["types"]["structural"] == "choose")
    entry["question"] = "What is it?"
    read_files(scene_folder, questions, graphs)
    table, _ = usable_questions(QUESTIONS.read(scene_folder / "q.parquet"), "T", Task(structural="choose"))
    kept, _ = with_images(CANDIDATES.frame(table), ImageSource(str(scene_folder / "images")), task="T")
    row = kept.filter(question_id=name).row(0, named=True) | {"related": None, "token_ids": [5]}
    edges = ["true option -> last", "false option -> last", "options -> last", "objects -> last", "question -> last"]
    run = ProbeRun(tiny_llava, KnockoutProbe(kind="knockout", window=1, edges=edges), "flow")
    assert set(run.measure(Question.of(row))["edge"]) == {"question -> last"}
    assert [each.what for each in run.skipped] == edges[:4]
    for each, option in zip(run.skipped, (row["true_option"], row["false_option"]), strict=False):
        assert f"{option!r} is not in the question 'What is it?'" in each.reason
    only = KnockoutProbe(kind="knockout", window=1, edges=edges[:4])
    with pytest.raises(QuestionError, match="no edge of the probe applies to this question"):
        ProbeRun(tiny_llava, only, "flow").measure(Question.of(row))


def test_an_edge_of_a_segment_that_is_found_in_part_is_measured_and_told(tiny_llava):
    """Only one of two objects is in the question: its edges are measured, and the other object is a row."""
    question = make_question(
        id="q",
        image_id="i",
        text="what color is the circle ?",
        image="x",
        token_ids=[5],
        objects=(an_object("circle"), an_object("necktie")),
    )
    probe = KnockoutProbe(kind="knockout", window=1, edges=["objects -> last", "question -> last"])
    run = ProbeRun(tiny_llava, probe, "flow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vlmflow.probes.context.open_image", lambda _: Image.new("RGB", (96, 96)))
        rows = run.measure(question)
    assert set(rows["edge"]) == {"objects -> last", "question -> last"}
    (left_out,) = run.skipped
    assert (left_out.question, left_out.what) == ("q", "part of objects")
    assert "'necktie' is not in the question" in left_out.reason
    # It is no line of the figure that had nothing measured.
    skipped = SKIPPED.frame(
        [{"question_id": "q", "task": "T", "model": "m", "stage": "flow", "what": left_out.what, "reason": "r"}]
    )
    summary = summarise_model_task(probe.averaging, probe.table, rows, skipped, "m", "T")
    assert set(summary["edge"]) == {"objects -> last", "question -> last"}

"""Measure the questions of one shard, those of all tasks, with one model; or take them from the store."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from vlmflow.data.answer_match import AnswersMatch
from vlmflow.probes import Probe
from vlmflow.probes.address import depends_on
from vlmflow.probes.question import Question
from vlmflow.probes.stored import Others, Run, StoredTask
from vlmflow.store.contents import Contents, contents_note
from vlmflow.store.measurements import Collection, store_folder
from vlmflow.store.used import note_used
from vlmflow.tables import ANSWERS, Shard, Table

from .cost_note import count_questions
from .job import for_each_question
from .open_model import open_model

if TYPE_CHECKING:  # imports torch, which a job does not need if the store has everything
    from vlmflow.models.vision_language import LanguageModel


@dataclass(frozen=True)
class Step:
    """What one model measures: its answers, or a probe.

    Attributes:
        name: answers, or the name of the probe in the study file.
        model: name of the model in the study file.
        settings: of the model, as its rule passes them.
        kind: answers, or the kind of the probe.
        table: of the rows.
        depends_on: everything besides the question that they depend on.
        in_order: whether a measurement uses results of those before it, so that another order would cost more.
        make_run: from the loaded model and the questions of one task, what measures them.
        others: see `vlmflow.probes.stored.StoredTask`.
    """

    name: str
    model: str
    settings: Mapping[str, Any]
    kind: str
    table: Table
    depends_on: Mapping[str, Any]
    in_order: bool
    make_run: "Callable[[LanguageModel, Sequence[Question]], Run]"
    others: Others = lambda _: {}


def answering(model: str, settings: Mapping[str, Any], code: str, match: AnswersMatch) -> Step:
    """The step in which a model answers; for the arguments, see `Step` and `vlmflow.probes.address.depends_on`."""

    def make_run(vlm: "LanguageModel", _: Sequence[Question]) -> Run:
        from vlmflow.probes.answer import AnswerRun

        return AnswerRun(vlm, settings["instruction"], match)

    return Step("answers", model, settings, "answers", ANSWERS, depends_on(settings, code, match), False, make_run)


def probing(probe: Probe, name: str, model: str, settings: Mapping[str, Any], code: str, match: AnswersMatch) -> Step:
    """The step in which a model is probed; for the arguments, see `Step` and `vlmflow.probes.address.depends_on`."""

    def make_run(vlm: "LanguageModel", questions: Sequence[Question]) -> Run:
        from vlmflow.probes.run import ProbeRun

        return ProbeRun(vlm, probe, name, instruction=settings["instruction"], questions=questions, match=match)

    address = depends_on(settings, code, match if probe.uses_match else None, probe.measuring_settings)
    in_order = probe.cache_size > 0
    return Step(name, model, settings, probe.kind_name(), probe.table, address, in_order, make_run, probe.others)


def measure_shard(
    step: Step, rows: pl.DataFrame, shard: Shard, path: str | Path, *, gpus: int, threads: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows of the step's table, rows of `skipped`) for the questions of one shard.

    The model is loaded only if the store lacks one of them.

    Args:
        step: what is measured.
        rows: the question rows of all shards, with the column `task`, in the order in which they are measured.
        shard: the part of them that is measured.
        path: of the table of results that the rows are for.
        gpus, threads: that the job uses.

    Raises:
        JobError: the model cannot be loaded, or no question could be measured.
    """
    contents = Contents(contents_note(store_folder()))
    mine = shard.questions(rows)
    if not step.in_order:
        mine = mine.sort("image", maintain_order=True)  # each image is then opened and encoded once
    asked = mine.select("task", "question_id").rows()
    with Collection(step.kind, step.depends_on, step.table) as collection, ExitStack() as stack:
        tasks = {
            str(task): StoredTask(of_task, collection, contents, step.others)
            for (task,), of_task in rows.group_by("task", maintain_order=True)
        }
        keys = [key for task, question in asked if (key := tasks[task].key(question)) is not None]
        collection.load(keys)
        missing = [question for task, question in asked if tasks[task].find(question) is None]
        runs: dict[str, Run] = {}
        if missing:
            vlm = stack.enter_context(open_model(step.settings, gpus, threads))
            stack.enter_context(_keeping_features(vlm))
            runs = {task: step.make_run(vlm, stored.questions) for task, stored in tasks.items()}
        print(f"{len(missing)} questions to measure; {len(asked) - len(missing)} are in the store")
        count_questions(len(missing), len(asked) - len(missing))
        frames, skipped = for_each_question(
            mine,
            lambda row: tasks[row["task"]].rows(row["question_id"], runs.get(row["task"])),
            stage=step.name,
            model=step.model,
            notes={task: stored.skipped for task, stored in tasks.items()},
            share=shard.count > 1,
        )
    note_used(store_folder(), path, collection.folder, keys)
    return pl.concat([step.table.frame([]), *frames]), skipped


def _keeping_features(vlm: "LanguageModel") -> AbstractContextManager[object]:
    from vlmflow.engine.kept_features import KeptFeatures

    return KeptFeatures(vlm.model)

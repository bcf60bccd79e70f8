"""The page of single questions: its index, and the parts in which the questions' details are loaded.

Every file is a script that hands its content to the page, so that the page works from the disk, where a browser lets
no page read files.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from vlmflow.data.sampling import NotDrawn, in_random_order
from vlmflow.figures.style import name_of, strokes_of
from vlmflow.tables import full_reason

from .explored_rows import curves_of, maps_of, tracks_of, words_of
from .template_environment import ENVIRONMENT

PART = 50  # questions per file
DROPPED = 200  # of each task and stage
BEFORE_A_PROBE = ["questions", "tasks", "images", "answers", "selected"]  # stages
QUESTION = ["task", "question_id"]


@dataclass(frozen=True)
class ExploredModel:
    """The tables of one model of which the page shows single rows.

    Attributes:
        name: in the study file.
        layers: of the model.
        questions: task, question_id, question, answer: see `explored_rows.question_texts`.
        answers, selected, skipped: tables of these names, of the study's tasks.
        views: rows of the table `explored views`; empty for a model that reads captions.
        curves: task, question_id, edge, layer, change: see `explored_rows.curves`.
        means: task, edge, layer, mean, low, high: the means of these curves.
        track: rows of a lens probe, or None.
        attention: rows of an attention-map probe, or None.
        words: rows of a visual-lens probe, or None.
    """

    name: str
    layers: int
    questions: pl.DataFrame
    answers: pl.DataFrame
    selected: pl.DataFrame
    skipped: pl.DataFrame
    views: pl.DataFrame
    curves: pl.DataFrame
    means: pl.DataFrame
    track: pl.DataFrame | None = None
    attention: pl.DataFrame | None = None
    words: pl.DataFrame | None = None
    listed: pl.DataFrame = field(init=False)
    unlisted: int = field(init=False)

    def __post_init__(self) -> None:
        """List the questions: those that were asked, and of those that were dropped before at most `DROPPED` of each
        task and stage."""
        dropped = _dropped(self)
        drawn = in_random_order(dropped, 0).group_by("task", "stage").head(DROPPED)
        kept = dropped.join(drawn, on=QUESTION, how="semi", maintain_order="left")
        asked = _asked(self)
        object.__setattr__(self, "listed", pl.concat([asked, kept.select(asked.columns)]))
        object.__setattr__(self, "unlisted", len(dropped) - len(kept))

    def index(self) -> dict[str, Any]:
        """The columns by which questions are listed, filtered and sorted, and the means of the curves."""
        rows = self.listed
        effects = self.curves.group_by(*QUESTION, "edge").agg(pl.col("change").min())
        edges = self.curves["edge"].unique(maintain_order=True).to_list()
        lowest = {
            edge: rows.select(QUESTION)
            .join(effects.filter(pl.col("edge") == edge), on=QUESTION, how="left", maintain_order="left")["change"]
            .round(1)
            .to_list()
            for edge in edges
        }
        columns = {name: rows[name].to_list() for name in ("question_id", "question", "answer", "predicted")}
        tasks = rows["task"].unique(maintain_order=True).to_list()
        reasons = rows["reason"].drop_nulls().unique(maintain_order=True).to_list()
        return {
            "name": self.name,
            "layers": self.layers,
            "tasks": tasks,
            "task": [tasks.index(task) for task in rows["task"]],
            "state": rows["state"].to_list(),
            "reasons": reasons,
            "reason": [None if reason is None else reasons.index(reason) for reason in rows["reason"]],
            "analysed": rows["analysed"].cast(pl.Int8).to_list(),
            **columns,
            "effects": lowest,
            "means": self._means(edges),
            "looks": looks(edges) | looks([] if self.track is None else self.track["word"].unique(maintain_order=True)),
            "unlisted": self.unlisted,
            "part_size": PART,
        }

    def _means(self, edges: list[str]) -> dict[str, dict[str, Any]]:
        """Task → edge → layers and their means with intervals."""
        found: dict[str, dict[str, Any]] = {}
        rows = self.means.filter(pl.col("edge").is_in(edges))
        for (task, edge), line in rows.group_by("task", "edge", maintain_order=True):
            ordered = line.sort("layer")
            columns = {name: ordered[name].round(2).to_list() for name in ("mean", "low", "high")}
            found.setdefault(str(task), {})[str(edge)] = {"layer": ordered["layer"].to_list()} | columns
        return found

    def parts(self) -> Iterator[list[dict[str, Any]]]:
        """The details of the listed questions, in their order, part by part."""
        details = {
            "curves": curves_of(self.curves),
            "track": tracks_of(self.track),
            "attention": maps_of(self.attention),
            "words": words_of(self.words),
            "view": {(row["task"], row["question_id"]): _view(row) for row in self.views.to_dicts()},
            "tokens": {(row["task"], row["question_id"]): _tokens(row) for row in self.answers.to_dicts()},
            "skipped": _parts_skipped(self.skipped),
        }
        keys = self.listed.select(QUESTION).rows()
        for start in range(0, len(keys), PART):
            yield [
                {name: found[key] for name, found in details.items() if key in found}
                for key in keys[start : start + PART]
            ]


def looks(lines: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Line → its name, colour and dashes, as in all figures."""
    named = list(lines)
    strokes = zip(named, strokes_of(named), strict=True)
    return {line: {"name": name_of(line), "color": stroke.color, "dash": stroke.dash} for line, stroke in strokes}


def _asked(model: ExploredModel) -> pl.DataFrame:
    """The questions that a model was asked: task, question_id, question, answer, predicted, state, reason, analysed."""
    about: Any = {"on": QUESTION, "how": "left", "maintain_order": "left"}
    selected = model.selected.select(*QUESTION, analysed=pl.lit(True)).unique(QUESTION)
    rows = model.answers.join(model.questions.select(*QUESTION, "question"), **about).join(selected, **about)
    return rows.select(
        *QUESTION,
        "question",
        "answer",
        "predicted",
        state=pl.when(~pl.col("correct").fill_null(True)).then(pl.lit("wrong")).otherwise(pl.lit("correct")),
        reason=pl.lit(None, dtype=pl.String),
        analysed=pl.col("analysed").fill_null(False),
    )


def _dropped(model: ExploredModel) -> pl.DataFrame:
    """The questions that were dropped before the model answered them: the columns of `_asked`, and the stage."""
    rows = model.skipped.filter(
        pl.col("what") == "",
        ~pl.col("reason").is_in(list(NotDrawn)),
        pl.col("stage").is_in(["tasks", "images", "answers"]),
    )
    return (
        rows.select(*QUESTION, "stage", "reason")
        .unique(QUESTION, maintain_order=True)
        .join(model.answers, on=QUESTION, how="anti")
        .join(model.questions, on=QUESTION, how="left", maintain_order="left")
        .with_columns(predicted=pl.lit(None, dtype=pl.String), state=pl.lit("dropped"), analysed=pl.lit(False))
    )


def _view(row: dict[str, Any]) -> dict[str, Any]:
    boxes = [[box["name"], *(round(box[side], 4) for side in ("x", "y", "w", "h"))] for box in row["boxes"]]
    kept = {name: row[name] for name in ("width", "height", "rows", "columns", "related")}
    return kept | {"boxes": boxes, "image": base64.b64encode(row["image"]).decode()}


def _tokens(row: dict[str, Any]) -> list[list[Any]]:
    """[text, probability] of each token of the answer."""
    pairs = zip(row["tokens"], row["token_probabilities"], strict=True)
    return [[text, round(probability, 4)] for text, probability in pairs]


def _parts_skipped(skipped: pl.DataFrame) -> dict[tuple[str, str], list[str]]:
    """Question → the parts of its measurement that were left out, with the reasons."""
    of_probes = (pl.col("what") != "") | ~pl.col("stage").is_in(BEFORE_A_PROBE)
    measured = skipped.filter(of_probes, ~pl.col("reason").is_in(list(NotDrawn)))
    rows = measured.with_columns(text=pl.format("{}: {}", "stage", full_reason()))
    grouped = rows.group_by(QUESTION, maintain_order=True).agg(pl.col("text").unique(maintain_order=True))
    return {(row["task"], row["question_id"]): row["text"] for row in grouped.to_dicts()}


def script(kind: str, content: Any, *place: Any) -> str:
    """A script that hands its content to the page.

    Args:
        kind: index or part.
        content: as JSON can hold it.
        place: the model's number and the part's number.
    """
    arguments = json.dumps([kind, *place, content], ensure_ascii=True, separators=(",", ":"))
    return f"explorer.receive(...{arguments});\n"


def explorer_page(study: str, models: Mapping[str, int]) -> str:
    """The page without its data, as HTML.

    Args:
        study: name of the study.
        models: model → number of its listed questions.
    """
    return ENVIRONMENT.get_template("explorer.html").render(study=study, models=models)

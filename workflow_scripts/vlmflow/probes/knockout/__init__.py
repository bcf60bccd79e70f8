"""Attention knockout: how the answer's probability changes when an edge is blocked; [flow] section 3.2."""

from typing import ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from vlmflow.edges import SINK_SEGMENTS, Cut, EdgeGroup
from vlmflow.models.size import Size
from vlmflow.probes.base import ProbeTables, SampleProbe, parse_edges
from vlmflow.probes.chapters import Chapter
from vlmflow.probes.cost import REPLAYED, Work, forward, replayed_shares
from vlmflow.probes.measures import Follow, effect_averaging, effect_columns
from vlmflow.probes.norms import NormsProbe
from vlmflow.probes.study_view import StudyView
from vlmflow.settings import EdgeGroups, Name, Strict, Windows, WindowShare
from vlmflow.tables import Column, Table
from vlmflow.tables.columns import ABOUT, WINDOW

CUT_BY_WINDOW = ("around", "all but")


def _redundancy(values: pl.DataFrame, means: pl.DataFrame) -> pl.DataFrame:
    from vlmflow.analysis.redundancy import redundancy

    return redundancy(values, means)


class Sinks(Strict):
    """The rule for the attention sinks of the image encoder: patches whose features have a high norm."""

    norms: Name = Field(description="The probe of kind norms that measures the norms.")
    above: float | None = Field(None, gt=0, description="Norm above which a patch is a sink; [flow] has 57.")
    quantile: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="The threshold as a quantile of all norms of the model and task, instead of above.",
    )

    @model_validator(mode="after")
    def _one_threshold(self) -> "Sinks":
        if (self.above is None) == (self.quantile is None):
            raise ValueError("give either above (a norm) or quantile (a share of the patches)")
        return self


class KnockoutProbe(SampleProbe):
    """Attention knockout: each edge blocked in a window around every layer."""

    chapter: ClassVar = Chapter.KNOCKOUT
    table: ClassVar = Table(
        "knockout",
        ABOUT
        | {"edge": Column(pl.String, "source -> target")}
        | WINDOW
        | effect_columns("p_knockout")
        | {"sub_words": Column(pl.Int32, "number of the followed answer's sub-words")},
    )
    averaging: ClassVar = effect_averaging(
        ("edge", "window", "layer"),
        line="edge",
        further={
            "multi_token_answers": (
                Column(pl.Int32, "questions with an answer of more than one sub-word"),
                (pl.col("sub_words") > 1).sum().cast(pl.Int32),
            )
        },
        derived=_redundancy,
    )

    knows_sinks: ClassVar = True
    choosing_keys: ClassVar = SampleProbe.choosing_keys | {"sinks"}  # the rows of questions name their sinks

    kind: Literal["knockout"]
    window: Windows = Field(
        [9], description="Number of layers, odd; one number or several; or {share: …} of the depth."
    )
    cut: Cut = Field(
        "around",
        description="The layers in which an edge is knocked out, for each layer: a window around it, all from it on, "
        "all until it, or all but the window.",
    )
    edges: EdgeGroups = Field(
        description="Each as 'source -> target', or several that are knocked out together, as 'source -> target + "
        "source -> target'; or all, for every segment to every later one."
    )
    follow: Follow = Field(
        "own",
        description="The answer whose probability is measured: the model's own, the correct one, or the false option.",
    )
    token: Literal["first", "last", "all"] = Field(
        "first",
        description="The answer's sub-word whose probability is measured, given the earlier sub-words; all: the joint "
        "probability of all.",
    )
    sub_words: Literal["any", "several"] = Field(
        "any", description="several: only answers of more than one sub-word are measured; for token: last and all."
    )
    sub_words_blocked: Literal["last", "every"] = Field(
        "last",
        description="Positions to which an edge to last is blocked: that which predicts the last sub-word, or every "
        "one that predicts a sub-word, as published; for token: last.",
    )
    sinks: Sinks | None = Field(None, description="Defines the segments 'sinks' and '… patches without sinks'.")

    @property
    def edge_groups(self) -> list[EdgeGroup]:
        """See `Probe.edge_groups`."""
        return parse_edges(self.edges)

    def values_measured(self, column: str) -> list[str] | list[int] | None:
        """See `Probe.values_measured`; a share of the depth is another window in each model."""
        layers = [window for window in self.windows if isinstance(window, int)]
        return layers if column == "window" and layers else super().values_measured(column)

    @property
    def windows(self) -> list[int | WindowShare]:
        """The windows that are measured; 0 if all layers on one side of each are cut."""
        return list(self.window) if self.cut in CUT_BY_WINDOW else [0]

    @property
    def layers_required(self) -> dict[str, int]:
        """See `Probe.layers_required`."""
        return {"window": max((window for window in self.windows if isinstance(window, int)), default=1)}

    @property
    def norms_probe(self) -> str | None:
        """See `Probe.norms_probe`."""
        return None if self.sinks is None else self.sinks.norms

    def cost(self, size: Size, questions: int) -> Work:
        """See `Probe.cost`."""
        # Each layer is a row of the replay, and a row runs through half of the layers on average.
        shares = sum(max(replayed_shares([edge], size) for edge in group.edges) for group in self.edge_groups)
        rows = len(self.windows) * size.layers * shares
        return Work(forward() + rows / 2, 3 + rows * size.tokens / REPLAYED)

    def columns(self, rows: pl.DataFrame, tables: ProbeTables, seed: int | None) -> pl.DataFrame:
        """See `Probe.columns`; adds `sinks`, numbers of tokens among the image's."""
        if self.sinks is not None and tables.norms is not None:
            from vlmflow.probes.norms.sinks import sinks_of

            sinks = sinks_of(tables.norms, self.sinks.above, self.sinks.quantile)
            rows = rows.join(sinks, on="question_id", how="left", maintain_order="left")
        return super().columns(rows, tables, seed)

    def check(self, name: str, study: StudyView) -> None:
        """See `Probe.check`; the norms for its sinks must be measured on all of its questions."""
        super().check(name, study)
        if self.sinks is None:
            return
        norms = self.sinks.norms
        measuring = study.probes.get(norms)
        if measuring is None or measuring.kind != NormsProbe.kind_name():
            known = [other for other, probe in study.probes.items() if probe.kind == NormsProbe.kind_name()]
            raise ValueError(
                f"probes.{name}.sinks.norms: there is no probe {norms!r} of kind norms; "
                + (f"choose from {', '.join(known)}" if known else "add one")
            )
        needed, measured = self.questions, measuring.questions
        if measured is not None and (needed is None or needed > measured):
            raise ValueError(
                f"probes.{norms}.questions: the probe {name!r} needs the norms of {needed or 'all'} questions, but "
                f"{measured} are measured"
            )
        for what, mine, theirs in (
            ("models", study.models_of(name), study.models_of(norms)),
            ("tasks", study.tasks_of(name), study.tasks_of(norms)),
        ):
            if missing := [each for each in mine if each not in theirs]:
                raise ValueError(
                    f"probes.{norms}.{what}: the probe {name!r} needs its norms for {missing[0]!r} as well"
                )

    @model_validator(mode="after")
    def _sub_words_are_of_the_last(self) -> "KnockoutProbe":
        for key, tokens in (("sub_words", ("last", "all")), ("sub_words_blocked", ("last",))):
            if self.token not in tokens and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key}: only with token: {' or '.join(tokens)}; remove this key")
        return self

    @model_validator(mode="after")
    def _window_is_of_a_cut(self) -> "KnockoutProbe":
        # A job gets all keys, those with their defaults included.
        if self.cut not in CUT_BY_WINDOW and self.window != type(self).model_fields["window"].default:
            raise ValueError(f"window: cut: {self.cut} has no window; remove this key")
        return self

    @model_validator(mode="after")
    def _sinks_are_defined(self) -> "KnockoutProbe":
        used = [name for name in self.segments_needed if name in SINK_SEGMENTS]
        if used and self.sinks is None:
            raise ValueError(f"sinks: this key is missing; it says which patches {used[0]!r} are")
        if self.sinks is not None and not used:
            raise ValueError(f"sinks: no edge has one of the segments {', '.join(SINK_SEGMENTS)}; remove this key")
        return self

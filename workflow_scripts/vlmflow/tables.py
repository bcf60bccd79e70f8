"""Every table of the workflow: its columns, their types and units, declared once and checked when written."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl


class TableError(ValueError):
    """A table that is not what its schema says; the message names table and column."""


@dataclass(frozen=True)
class Column:
    """Type and meaning, with its unit, of a column."""

    dtype: pl.DataType | type[pl.DataType]
    meaning: str
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """A kind of file: what every one of them holds."""

    name: str
    columns: dict[str, Column]

    @property
    def schema(self) -> pl.Schema:
        """Names and types, as polars has them."""
        return pl.Schema({name: column.dtype for name, column in self.columns.items()})

    def frame(self, rows: list[dict] | pl.DataFrame) -> pl.DataFrame:
        """Rows as a frame of exactly this schema, in its order of columns.

        Raises:
            TableError: a column is missing, of another type, or holds a null that it must not.
        """
        frame = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(rows, schema=self.schema, orient="row")
        if missing := set(self.columns) - set(frame.columns):
            raise TableError(f"table {self.name}: without the column(s) {', '.join(sorted(missing))}")
        try:
            frame = frame.select(list(self.columns)).cast(self.schema)
        except pl.exceptions.PolarsError as error:
            raise TableError(f"table {self.name}: {error}") from error
        for name, column in self.columns.items():
            if not column.nullable and (nulls := frame[name].null_count()):
                raise TableError(f"table {self.name}, column {name}: {nulls} value(s) are missing")
            if column.dtype in (pl.Float32, pl.Float64) and (nans := frame[name].is_nan().sum()):
                raise TableError(f"table {self.name}, column {name}: {nans} value(s) are not a number")
        return frame

    def write(self, rows: list[dict] | pl.DataFrame, path: str | Path) -> None:
        """Check and write as Parquet, whole or not at all."""
        frame = self.frame(rows)
        with whole(path) as temporary:
            frame.write_parquet(temporary)

    def read(self, path: str | Path) -> pl.DataFrame:
        """Read and check.

        Raises:
            TableError: the file is no such table.
        """
        try:
            return self.frame(pl.read_parquet(path))
        except (TableError, pl.exceptions.PolarsError) as error:
            raise TableError(f"{path}: {error}") from error


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path` that takes its place once the block has ended well: `with whole(path) as name`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


OBJECT = pl.Struct(
    {
        "name": pl.String,
        "id": pl.String,
        "x": pl.Float64,
        "y": pl.Float64,
        "w": pl.Float64,
        "h": pl.Float64,
        "attributes": pl.List(pl.String),
    }
)

QUESTION_COLUMNS = {
    "question_id": Column(pl.String, "id in the source"),
    "image_id": Column(pl.String, "id of the picture in the source"),
    "width": Column(pl.Int32, "pixels", nullable=True),
    "height": Column(pl.Int32, "pixels", nullable=True),
    "question": Column(pl.String, "the question's own words"),
    "answer": Column(pl.String, "right answer, lowercase; of a description what somebody wrote, as written"),
    "full_answer": Column(pl.String, "right answer as a sentence", nullable=True),
    "structural": Column(pl.String, "GQA's structural type"),
    "semantic": Column(pl.String, "GQA's semantic type"),
    "detailed": Column(pl.String, "GQA's detailed type"),
    "true_option": Column(pl.String, "the right one of two options", nullable=True),
    "false_option": Column(pl.String, "the wrong one of two options", nullable=True),
    "objects": Column(
        pl.List(OBJECT),
        "what the question is about; boxes in pixels of the picture, null where the object is absent; attributes as "
        "annotated, none where nothing is known of them",
    ),
    "captions": Column(pl.String, "dense captions of the picture, one after the other", nullable=True),
}

QUESTIONS = Table(
    "questions",
    QUESTION_COLUMNS | {"problem": Column(pl.String, "what a task would need and is not to be found", nullable=True)},
)
CANDIDATES = Table("candidates", QUESTION_COLUMNS)
TASK = Table("task", QUESTION_COLUMNS | {"image": Column(pl.String, "path of the picture")})
SKIPPED = Table(
    "skipped",
    {
        "question_id": Column(pl.String, "id in the source"),
        "task": Column(pl.String, "null before the tasks are made", nullable=True),
        "model": Column(pl.String, "null before a model is asked", nullable=True),
        "stage": Column(pl.String, "questions, tasks, pictures, patches, answers, selected, or a probe's name"),
        "reason": Column(pl.String, "why the question goes no further, or which edges it has to do without"),
    },
)
PATCHES = Table(
    "patches",
    {
        "question_id": Column(pl.String, "id in the source"),
        "tokens": Column(pl.Int32, "how many tokens the picture becomes"),
        "related": Column(pl.List(pl.Int32), "numbers of the related patches among the picture's tokens, from 0"),
        "no_patch": Column(pl.List(pl.Int32), "numbers of the tokens that are no patch, such as row newlines"),
    },
)
ANSWERS = Table(
    "answers",
    {
        "question_id": Column(pl.String, "id in the source"),
        "image_id": Column(pl.String, "id of the picture"),
        "predicted": Column(pl.String, "what the model says, greedily"),
        "answer": Column(pl.String, "the right answer, or what somebody else said where there is none"),
        "correct": Column(
            pl.Boolean,
            "predicted, stripped and lowercased, equals the answer; null: nothing to be right",
            nullable=True,
        ),
        "probability": Column(pl.Float64, "of the first token of what the model says"),
        "token_ids": Column(pl.List(pl.Int64), "of what the model says"),
    },
)
VIEWS = Table(
    "views",
    {
        "question_id": Column(pl.String, "id in the source"),
        "question": Column(pl.String, "the question's own words"),
        "answer": Column(pl.String, "right answer, or caption"),
        "rows": Column(pl.Int32, "of patches"),
        "columns": Column(pl.Int32, "of patches"),
        "picture": Column(pl.Binary, "what the model sees of the whole picture, as PNG or JPEG"),
    },
)
SELECTED = Table(
    "selected",
    {
        "question_id": Column(pl.String, "a question that the probes analyse"),
    },
)

PLACE_COLUMNS = {
    "model": Column(pl.String, "name in the study file"),
    "task": Column(pl.String, "name in the study file"),
}
ACCURACY = Table(
    "summary of answers",
    PLACE_COLUMNS
    | {
        "asked": Column(pl.Int32, "questions"),
        "right": Column(pl.Int32, "answered correctly; null where there is nothing to be right", nullable=True),
        "analysed": Column(pl.Int32, "drawn for the probes"),
        "accuracy": Column(pl.Float64, "right / asked; null where there is nothing to be right", nullable=True),
    },
)

# --- what the probes leave, and its averages ---

ABOUT = {
    "question_id": Column(pl.String, "id in the source"),
    "image_id": Column(pl.String, "id of the picture"),
}
WINDOW = {
    "window": Column(pl.Int32, "layers"),
    "layer": Column(pl.Int32, "middle of the window, from 0; of a module's window the first layer"),
}
KNOCKOUT = Table(
    "knockout",
    ABOUT
    | {"edge": Column(pl.String, "source -> target")}
    | WINDOW
    | {
        "p_base": Column(pl.Float64, "probability of the intact model's answer: of the sub-word that is followed"),
        "p_knockout": Column(pl.Float64, "the same token's probability, the edge knocked out"),
        "change": Column(pl.Float64, "percent of p_base"),
        "sub_words": Column(pl.Int32, "number of the answer's sub-words"),
    },
)
LENS = Table(
    "lens",
    ABOUT
    | {
        "layer": Column(pl.Int32, "layer after which is read, from 0; −1 is the embedding"),
        "word": Column(pl.String, "capitalised answer, lowercase answer, or false option"),
        "probability": Column(pl.Float64, "of the word's first token at the last position"),
    },
)
WORDS = Table(
    "words",
    ABOUT
    | {"intervention": Column(pl.String, "attention, mlp, or an edge that is knocked out")}
    | WINDOW
    | {"similarity": Column(pl.Float64, "Jaccard, of the predicted words to the intact model's, from 0 to 1")},
)
NORMS = Table(
    "norms",
    ABOUT
    | {
        "norms": Column(
            pl.List(pl.Float64), "of the image encoder's feature behind each of the picture's tokens; null: no patch"
        ),
        "related": Column(pl.List(pl.Int32), "numbers of the related patches among the tokens", nullable=True),
    },
)
PRUNING = Table(
    "pruning",
    ABOUT
    | {
        "last": Column(pl.Int32, "in how many of the last layers there are no image tokens"),
        "predicted": Column(pl.String, "what the model then says, greedily"),
        "correct": Column(
            pl.Boolean,
            "predicted, stripped and lowercased, equals the answer; null: nothing to be right",
            nullable=True,
        ),
        "work": Column(pl.Float64, "token-layers of reading the prompt, as a share of the intact model's"),
        "time": Column(pl.Float64, "seconds of reading and decoding, as a share of the intact model's", nullable=True),
    },
)

# Which tokens' similarity is measured.
PAIRS = ("image and text", "within image", "within text")
# The phases of [phase], in their order.
PHASE_NAMES = ("alignment", "intra-modal encoding", "inter-modal encoding", "output preparation")
ALL_TOKENS = -1  # in the column `number`: all of the picture's tokens
LAYER = {"layer": Column(pl.Int32, "from 0")}
STATE = {"layer": Column(pl.Int32, "after which the state is read, from 0; −1 is the embedding")}
PROMPT = {"prompt": Column(pl.String, "name in the study file")}
SIMILARITY = Table(
    "similarity",
    ABOUT
    | PROMPT
    | {"pair": Column(pl.String, "one of PAIRS")}
    | STATE
    | {
        "raw": Column(pl.Float64, "mean cosine over all pairs of tokens"),
        "unrelated": Column(pl.Float64, "the same of tokens of unrelated questions"),
        "corrected": Column(pl.Float64, "raw − unrelated"),
    },
)
ATTENTION = Table(
    "attention",
    ABOUT
    | {"edge": Column(pl.String, "source -> target")}
    | LAYER
    | {
        "weight": Column(pl.Float64, "percent of the target's attention, mean over heads and positions"),
        "norm": Column(pl.Float64, "of what the target takes from the source's positions, added up"),
        "share": Column(pl.Float64, "of the norms from all positions, in percent"),
    },
)
ATTENTION_MAP = Table(
    "attention map",
    ABOUT
    | {"target": Column(pl.String, "the segment that looks")}
    | LAYER
    | {
        "rows": Column(pl.Int32, "of patches"),
        "columns": Column(pl.Int32, "of patches"),
        "weight": Column(pl.List(pl.Float32), "row by row: percent of the target's attention"),
        "share": Column(pl.List(pl.Float32), "row by row: percent of the norms from all positions"),
    },
)
INSTRUCTION = {
    "instruction": Column(pl.String, "right, wrong or none"),
    "place": Column(pl.String, "of the instruction: after or before the picture"),
}
VISUAL_LENS = Table(
    "visual lens",
    ABOUT
    | INSTRUCTION
    | STATE
    | {
        "object": Column(pl.Float64, "percent of the objects' patches that say a name or attribute", nullable=True),
        "elsewhere": Column(pl.Float64, "the same of other patches", nullable=True),
        "shuffled": Column(pl.Float64, "the objects' patches, another question's names", nullable=True),
        "entropy": Column(pl.Float64, "bits, mean over the picture's tokens"),
        "words": Column(pl.Float64, "percent of the picture's tokens that decode to a word"),
        "agreement": Column(pl.Float64, "percent with the same word as with the right instruction", nullable=True),
        "decoded": Column(pl.List(pl.String), "the word of each patch, row by row; of examples", nullable=True),
    },
)
BUDGET = Table(
    "budget",
    ABOUT
    | PROMPT
    | {
        "keep": Column(pl.String, "first, spread or random"),
        "number": Column(pl.Int32, "of the picture's tokens that are kept; −1: all"),
        "kept": Column(pl.Int32, "how many these are"),
        "loss": Column(pl.Float64, "of the reference answer, nats a token"),
    },
)
PLACES = Table(
    "places",
    ABOUT
    | {
        "grid": Column(pl.Int32, "cells a side"),
        "loss": Column(pl.Float64, "of the reference answer, the picture whole, nats a token"),
        "growth": Column(pl.List(pl.Float64), "of the loss without each cell, row by row, nats a token"),
    },
)

INTERVAL = {
    "mean": Column(pl.Float64, "over questions; null where there is none", nullable=True),
    "low": Column(pl.Float64, "lower end of the 95 % interval", nullable=True),
    "high": Column(pl.Float64, "upper end of the 95 % interval", nullable=True),
    "questions": Column(pl.Int32, "number of questions"),
    "pictures": Column(pl.Int32, "number of pictures, over which is resampled"),
}
NOTE = {"note": Column(pl.String, "why there is no question, where there is none", nullable=True)}
KNOCKOUT_SUMMARY = Table(
    "summary of knockout",
    PLACE_COLUMNS
    | {name: KNOCKOUT.columns[name] for name in ("edge", "window", "layer")}
    | INTERVAL
    | {"several": Column(pl.Int32, "questions with an answer of more than one sub-word")}
    | NOTE,
)
LENS_SUMMARY = Table(
    "summary of lens", PLACE_COLUMNS | {name: LENS.columns[name] for name in ("word", "layer")} | INTERVAL
)
WORDS_SUMMARY = Table(
    "summary of words",
    PLACE_COLUMNS | {name: WORDS.columns[name] for name in ("intervention", "window", "layer")} | INTERVAL | NOTE,
)
NORMS_SUMMARY = Table(
    "summary of norms",
    PLACE_COLUMNS
    | {
        "patches": Column(pl.String, "all, related or other patches"),
        "norm": Column(pl.Float64, "lower edge of a bin; the upper one is 2^(1/8) times as much"),
    }
    | INTERVAL
    | NOTE,
)
PRUNING_SUMMARY = Table(
    "summary of pruning",
    PLACE_COLUMNS
    | {"quantity": Column(pl.String, "accuracy, work or time"), "last": PRUNING.columns["last"]}
    | INTERVAL
    | NOTE,
)
QUANTITY = {"quantity": Column(pl.String, "which column of the probe's table is averaged")}
CELL = {"row": Column(pl.Int32, "from 0, above"), "column": Column(pl.Int32, "from 0, left")}
SIMILARITY_SUMMARY = Table(
    "summary of similarity",
    PLACE_COLUMNS | PROMPT | {"pair": SIMILARITY.columns["pair"]} | QUANTITY | STATE | INTERVAL | NOTE,
)
ATTENTION_SUMMARY = Table(
    "summary of attention",
    PLACE_COLUMNS | {"edge": ATTENTION.columns["edge"]} | QUANTITY | LAYER | INTERVAL | NOTE,
)
ATTENTION_MAP_SUMMARY = Table(
    "summary of attention maps",
    PLACE_COLUMNS | {"target": ATTENTION_MAP.columns["target"]} | QUANTITY | LAYER | CELL | INTERVAL | NOTE,
)
VISUAL_LENS_SUMMARY = Table("summary of visual lens", PLACE_COLUMNS | INSTRUCTION | QUANTITY | STATE | INTERVAL | NOTE)
BUDGET_SUMMARY = Table(
    "summary of budget",
    PLACE_COLUMNS
    | PROMPT
    | {name: BUDGET.columns[name] for name in ("keep", "number")}
    | {"kept": Column(pl.Float64, "how many these are, mean over questions", nullable=True)}
    | INTERVAL
    | NOTE,
)
PLACES_SUMMARY = Table("summary of places", PLACE_COLUMNS | CELL | INTERVAL | NOTE)

# --- what is found on averaged curves ---

FOUND = {
    "low": Column(pl.Float64, "lower end of the 95 % bootstrap interval", nullable=True),
    "high": Column(pl.Float64, "upper end of the 95 % bootstrap interval", nullable=True),
    "questions": Column(pl.Int32, "number of questions"),
    "pictures": Column(pl.Int32, "number of pictures, over which is resampled"),
}
PHASES = Table(
    "phases",
    PLACE_COLUMNS
    | PROMPT
    | {
        "supported": Column(pl.Int32, "how many phases the curves support"),
        "agreement": Column(pl.Float64, "percent of the resamples that support as many"),
        "of": Column(pl.Int32, "into how many phases the layers are cut here"),
        "phase": Column(pl.Int32, "which of them, from 1"),
        "name": Column(pl.String, "of the phase, where there are four"),
        "first": Column(pl.Int32, "layer of its first state; −1 is the embedding"),
        "last": Column(pl.Int32, "layer of its last state"),
        "between": Column(pl.Float64, "change a layer of the similarity between image and text"),
        "within_image": Column(pl.Float64, "change a layer of the similarity within the image"),
        "within_text": Column(pl.Float64, "change a layer of the similarity within the text"),
    }
    | FOUND,
)
KNEES = Table(
    "knees",
    PLACE_COLUMNS
    | PROMPT
    | {
        "keep": BUDGET.columns["keep"],
        "knee": Column(pl.Float64, "of the picture's tokens, from which on more of them help little", nullable=True),
        "found": Column(pl.Float64, "percent of the resamples that have a knee"),
        "enough": Column(pl.Float64, "tokens from which on the loss stays near its end, within 5 % of its fall"),
        "enough_low": Column(pl.Float64, "lower end of its 95 % bootstrap interval"),
        "enough_high": Column(pl.Float64, "upper end of its 95 % bootstrap interval"),
        "without": Column(pl.Float64, "loss without any of the picture's tokens, nats a token"),
        "at_knee": Column(pl.Float64, "loss at the knee, nats a token", nullable=True),
        "whole": Column(pl.Float64, "loss with all of them, nats a token"),
    }
    | FOUND,
)
# Kind of probe → table of what is found on its curves.
LANDMARK_TABLES = {"similarity": PHASES, "budget": KNEES}

# Kind of probe → (table of its rows, table of their averages).
PROBE_TABLES = {
    "knockout": (KNOCKOUT, KNOCKOUT_SUMMARY),
    "lens": (LENS, LENS_SUMMARY),
    "words": (WORDS, WORDS_SUMMARY),
    "norms": (NORMS, NORMS_SUMMARY),
    "pruning": (PRUNING, PRUNING_SUMMARY),
    "similarity": (SIMILARITY, SIMILARITY_SUMMARY),
    "attention": (ATTENTION, ATTENTION_SUMMARY),
    "attention-map": (ATTENTION_MAP, ATTENTION_MAP_SUMMARY),
    "visual-lens": (VISUAL_LENS, VISUAL_LENS_SUMMARY),
    "budget": (BUDGET, BUDGET_SUMMARY),
    "places": (PLACES, PLACES_SUMMARY),
}

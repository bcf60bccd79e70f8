"""Means of what the probes leave, and what is found on the averaged curves."""

import polars as pl

from .base import Column, Table
from .probes import (
    ATTENTION,
    ATTENTION_MAP,
    BUDGET,
    INSTRUCTION,
    KNOCKOUT,
    LAYER,
    LENS,
    NORMS,
    PLACES,
    PROMPT,
    PRUNING,
    SIMILARITY,
    STATE,
    VISUAL_LENS,
    WORDS,
)
from .questions import PLACE_COLUMNS

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
        "agreement": Column(pl.Float64, "percent of the resamples that support as many", nullable=True),
        "of": Column(pl.Int32, "into how many phases the layers are cut here"),
        "phase": Column(pl.Int32, "which of them, from 1"),
        "name": Column(pl.String, "of the phase, where four do what [phase] says of them"),
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
        "enough_low": Column(pl.Float64, "lower end of its 95 % bootstrap interval", nullable=True),
        "enough_high": Column(pl.Float64, "upper end of its 95 % bootstrap interval", nullable=True),
        "without": Column(pl.Float64, "loss without any of the picture's tokens, nats a token"),
        "at_knee": Column(pl.Float64, "loss at the knee, nats a token", nullable=True),
        "whole": Column(pl.Float64, "loss with all of them, nats a token"),
    }
    | FOUND,
)
COST = Table(
    "summary of cost",
    {
        "model": PLACE_COLUMNS["model"],
        "step": Column(pl.String, "answers, the name of a probe, or `table` and the name of a table"),
        "jobs": Column(pl.Int32, "of which is known what they took"),
        "unmeasured": Column(pl.Int32, "jobs without a benchmark file, counted nowhere else"),
        "questions": Column(pl.Int64, "that these jobs answered or measured"),
        "hours": Column(pl.Float64, "from each job's start to its end, in sum, hours"),
        "gpus": Column(pl.Int32, "that one job held, at most"),
        "gpu_hours": Column(pl.Float64, "hours of each job times the GPUs that it held, in sum, hours"),
        "cpu_hours": Column(pl.Float64, "of all cores, user and system, hours", nullable=True),
        "memory": Column(pl.Float64, "largest resident memory of a job, megabytes", nullable=True),
    },
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

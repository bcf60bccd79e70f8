"""What the probes leave: rows, one question at a time."""

import polars as pl

from .base import Column, Table

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
        "word": Column(pl.String, "capitalised answer, lowercase answer, capitalised false option, or false option"),
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
NAMES_OF_OBJECTS = "names of objects: "  # how a reason begins, why no name is looked for
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

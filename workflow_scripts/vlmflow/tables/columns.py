"""Columns that several tables share."""

import polars as pl

from .base import Column

TASK_NAME = {"task": Column(pl.String, "name in the study file")}
ABOUT = TASK_NAME | {
    "question_id": Column(pl.String, "id in the source"),
    "image_id": Column(pl.String, "id of the image"),
}
WINDOW = {
    "window": Column(pl.Int32, "layers"),
    "layer": Column(pl.Int32, "middle of the window, from 0; for a module, the first layer of the window"),
}
LAYER = {"layer": Column(pl.Int32, "from 0")}
STATE = {"layer": Column(pl.Int32, "after which the state is read, from 0; −1 is the embedding")}
PROMPT = {"prompt": Column(pl.String, "name in the study file")}
MODEL_TASK = {
    "model": Column(pl.String, "name in the study file"),
    "task": Column(pl.String, "name in the study file"),
}

# --- means, phases and knees ---

INTERVAL = {
    "mean": Column(pl.Float64, "mean over questions; null if nothing was measured", nullable=True),
    "low": Column(pl.Float64, "lower end of the 95 % interval", nullable=True),
    "high": Column(pl.Float64, "upper end of the 95 % interval", nullable=True),
    "questions": Column(pl.Int32, "number of questions"),
    "images": Column(pl.Int32, "number of images, which are resampled"),
}
EXTREME = {
    "extreme_low": Column(
        pl.Float64,
        "at the lowest and highest mean of a line: lower end of the 95 % interval of this extreme, found anew in each "
        "resample",
        nullable=True,
    ),
    "extreme_high": Column(pl.Float64, "upper end of the same interval", nullable=True),
    "position_low": Column(pl.Float64, "there: lower end of the 95 % interval of its position", nullable=True),
    "position_high": Column(pl.Float64, "upper end of the same interval", nullable=True),
}
HALVES = {
    "first_half": Column(pl.Float64, "mean over the first half of the images, by their ids", nullable=True),
    "second_half": Column(pl.Float64, "mean over the second half", nullable=True),
}
NOTE = {"note": Column(pl.String, "why nothing was measured; null if something was", nullable=True)}
QUANTITY = {"quantity": Column(pl.String, "the column of the probe's table that is averaged")}
CELL = {"row": Column(pl.Int32, "from 0, from the top"), "column": Column(pl.Int32, "from 0, from the left")}
FEATURE_INTERVAL = {
    "low": Column(pl.Float64, "lower end of the 95 % bootstrap interval", nullable=True),
    "high": Column(pl.Float64, "upper end of the 95 % bootstrap interval", nullable=True),
    "questions": Column(pl.Int32, "number of questions"),
    "images": Column(pl.Int32, "number of images, which are resampled"),
}

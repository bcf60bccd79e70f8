"""Columns that several tables share."""

import polars as pl

from .base import Column

ABOUT = {
    "question_id": Column(pl.String, "id in the source"),
    "image_id": Column(pl.String, "id of the image"),
}
WINDOW = {
    "window": Column(pl.Int32, "layers"),
    "layer": Column(pl.Int32, "middle of the window, from 0; of a module's window the first layer"),
}
LAYER = {"layer": Column(pl.Int32, "from 0")}
STATE = {"layer": Column(pl.Int32, "after which the state is read, from 0; −1 is the embedding")}
PROMPT = {"prompt": Column(pl.String, "name in the study file")}
PLACE_COLUMNS = {
    "model": Column(pl.String, "name in the study file"),
    "task": Column(pl.String, "name in the study file"),
}

# --- means, and what is found on averaged curves ---

INTERVAL = {
    "mean": Column(pl.Float64, "over questions; null where there is none", nullable=True),
    "low": Column(pl.Float64, "lower end of the 95 % interval", nullable=True),
    "high": Column(pl.Float64, "upper end of the 95 % interval", nullable=True),
    "questions": Column(pl.Int32, "number of questions"),
    "images": Column(pl.Int32, "number of images, over which is resampled"),
}
NOTE = {"note": Column(pl.String, "why there is no question, where there is none", nullable=True)}
QUANTITY = {"quantity": Column(pl.String, "which column of the probe's table is averaged")}
CELL = {"row": Column(pl.Int32, "from 0, above"), "column": Column(pl.Int32, "from 0, left")}
FEATURE_INTERVAL = {
    "low": Column(pl.Float64, "lower end of the 95 % bootstrap interval", nullable=True),
    "high": Column(pl.Float64, "upper end of the 95 % bootstrap interval", nullable=True),
    "questions": Column(pl.Int32, "number of questions"),
    "images": Column(pl.Int32, "number of images, over which is resampled"),
}

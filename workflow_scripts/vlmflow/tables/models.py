"""The table of a model that could be loaded."""

import polars as pl

from .base import Column, Table

MODEL = Table(
    "model",
    {
        "model": Column(pl.String, "name in the study file"),
        "architecture": Column(pl.String, "class of transformers"),
        "layers": Column(pl.Int32, "of the decoder"),
        "width": Column(pl.Int32, "of a state"),
        "parameters": Column(pl.Int64, "of the whole model"),
        "dtype": Column(pl.String, "of the weights"),
        "content": Column(pl.String, "digest of all files of the model, as the store has it"),
        "revision": Column(pl.String, "commit of the hub's repository; null for a folder", nullable=True),
        "versions": Column(pl.String, "of Python and of the packages that run the model"),
    },
)

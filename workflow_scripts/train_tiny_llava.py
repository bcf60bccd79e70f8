"""The demo's model: trained from scratch, saved in half precision, with its accuracy."""

import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path

import polars as pl
import torch

from vlmflow.jobs.job import logged
from vlmflow.models.load import load_model
from vlmflow.tables import atomic_write
from vlmflow.tiny_llava.architecture import build_model, build_processor
from vlmflow.tiny_llava.examination import HELD_OUT, examine
from vlmflow.tiny_llava.model_card import model_card
from vlmflow.tiny_llava.training import Recipe, train

with logged(snakemake.log[0]):
    torch.set_num_threads(snakemake.threads)
    recipe = Recipe(seed=snakemake.params.seed)
    processor = build_processor()
    model = build_model(processor, recipe.seed)
    start = time.perf_counter()
    history = train(model, processor, recipe)
    seconds = time.perf_counter() - start

    # Made in another folder and copied at the end, so that an interrupted run leaves the old model unchanged.
    target = Path(snakemake.params.folder)
    folder = Path(snakemake.output.model)
    model.to(torch.float16).save_pretrained(folder)
    processor.save_pretrained(folder)
    # Examined with the saved half-precision weights, which are the ones that users load.
    scores = examine(load_model(folder, device="cpu"), **HELD_OUT)
    result = {
        "seconds": round(seconds),
        "threads": snakemake.threads,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "megabytes": round((folder / "model.safetensors").stat().st_size / 1e6, 2),
        "held_out": HELD_OUT,
        "scores": {task: asdict(score) for task, score in scores.items()},
    }
    (folder / "README.md").write_text(model_card(result, recipe, history), encoding="utf-8")
    with atomic_write(snakemake.output.history) as temporary:
        pl.DataFrame(history.rows).write_parquet(temporary)
    with atomic_write(snakemake.output.scores) as temporary:
        temporary.write_text(json.dumps(result, indent=1))
    # Each file is written completely or not at all; the weights come last.
    for file in sorted(folder.iterdir(), key=lambda file: file.suffix == ".safetensors"):
        with atomic_write(target / file.name) as temporary:
            shutil.copyfile(file, temporary)

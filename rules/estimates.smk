# Functions: what jobs ask a cluster for, more with every attempt. Local runs do not look at it.
import functools

import polars as pl

from vlmflow import estimates
from vlmflow.devices import DeviceError, visible_gpus


def growing(amount):
    """An amount of a resource that grows with every attempt."""
    return lambda wildcards, attempt: amount * attempt


def model_size(model):
    """Of a hub id known once it is fetched; before, a large model is assumed."""
    if model.folder is not None:
        return estimates.folder_size(model.folder)
    note = json.loads(Path(model.fetched).read_text()) if Path(model.fetched).is_file() else {}
    return estimates.Size(**note["size"]) if "size" in note else estimates.LARGE


def model_memory(wildcards, attempt):
    model = model_of(wildcards)
    asked = estimates.megabytes(model_size(model), model.dtype, gpu=model.gpus > 0, attempt=attempt)
    return at_most("most_mem_mb", asked)


def at_most(name, amount):
    """What is asked for, or what the cluster gives at most, as the profile says: more would wait for ever."""
    limit = cluster_says(name)
    return amount if limit is None else min(amount, int(limit))


def number_of_rows(file):
    os.stat(file)  # in a dry run the file may not be there yet: Snakemake knows this error, but not polars' own
    return int(pl.scan_parquet(file).select(pl.len()).collect().item())


def time_of(wildcards, work, questions, attempt):
    model = model_of(wildcards)
    size = model_size(model)
    expected = estimates.seconds(work, size, questions, gpu=model.gpus > 0)
    return at_most("most_runtime", estimates.minutes(expected, attempt))


def answering_time(wildcards, input, attempt):
    """Minutes of asking all questions, or this shard's."""
    shards = int(wildcards.scatteritem.split("-of-")[1]) if "scatteritem" in wildcards.keys() else 1
    return time_of(wildcards, estimates.answering(), number_of_rows(input.questions) // shards + 1, attempt)


def probing_time(wildcards, input, attempt):
    """Minutes of a probe: on the sample of its task, or on all questions that were asked."""
    probe = study.probes[wildcards.probe]
    sampled = probe.kind != "pruning" and getattr(probe, "answers", "right") == "right"
    questions = number_of_rows(input.selected if sampled else input.answers)
    if probe.questions is not None:
        questions = min(questions, probe.questions)
    work = estimates.work_of(probe, model_size(model_of(wildcards)), questions)
    return time_of(wildcards, work, questions, attempt)


def gpus(wildcards):
    """GPUs of a model's jobs. A machine that has none asks for none, so that jobs run beside each other there."""
    wanted = model_of(wildcards).gpus
    return 0 if wanted == 1 and workflow.local_exec and not cards_here() else wanted


@functools.cache
def cards_here():
    try:
        return visible_gpus()
    except DeviceError:
        return ["one that does not answer"]  # of which the job will say what is wrong

"""Finish a study without the failed measurements of single models.

Summaries, figures and the report need every model, and Snakemake does not run a job that needs a failed one.  So if
only jobs of models have failed when a run ends, the same command is run once more without the failed measurements: it
makes the summaries, figures and report of all others, and the report lists the missing measurements with the reasons.
The run still counts as failed, and the next run makes the missing measurements.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from .run_messages import failure_of
from .snakemake import JobGraph

LEFT_OUT = "VLMFLOW_LEFT_OUT"

# The rules without whose jobs nothing can be measured on their model, and all rules whose jobs belong to one model.
ENTIRE_RULES = {"load_model", "map_patches", "answer_questions", "sample_answered"}
MODEL_RULES = {"fetch_model", "run_probe", "answer_table", "show_examples", *ENTIRE_RULES}

# Arguments that make finished jobs run again, alone or among other switches in one word; and the folder to run in.
FORCING = re.compile(r"--force(all|run)?(=.*)?")
SWITCHES = re.compile(r"-[npqkFfR]+")
FOLDER = re.compile(r"(?:--directory=|-d(?!$))(.+)")

# Characters per reason: all reasons of a large study must fit into one environment variable.
LONGEST = 400


def read_left_out() -> list[dict[str, str]]:
    """The measurements that this run leaves out: for each `model`, `why`, and `probe` or `table` if it is only that.

    They come from the run before it, through the environment.
    """
    return json.loads(os.environ.get(LEFT_OUT, "[]"))


def is_left_out(left_out: Sequence[dict[str, str]], model: str, probe: str | None = None) -> bool:
    """Whether all measurements on a model, or those of a probe on it, are left out."""
    missing = {(each["model"], each.get("probe")) for each in left_out if "table" not in each}
    return bool(missing & {(model, None), (model, probe)})


def find_left_out(jobs: JobGraph, failed: Iterable[Any]) -> list[dict[str, str]]:
    """The measurements that must be left out so that all others can be finished.

    Empty if they cannot be determined, or if any failed job does not belong to a model.

    Args:
        jobs: the jobs of this run.
        failed: the failed ones among them.
    """
    broken = list(failed)
    if not broken or any(job.rule.name not in MODEL_RULES for job in broken):
        return []
    why = dict.fromkeys(broken, "")
    for job in broken:
        cause = failure_of(job)
        why |= dict.fromkeys(jobs.with_dependents(job), cause if len(cause) <= LONGEST else f"{cause[:LONGEST]} …")
    waiting = jobs.unfinished
    if any(job not in why for job in waiting):
        return []  # the run was interrupted: also jobs that do not depend on failed ones are unfinished
    missing: dict[tuple, dict[str, str]] = {}
    for job in waiting:
        measurement = _measurement(job)
        if measurement is not None:
            missing.setdefault(tuple(measurement.items()), measurement | {"why": why[job]})
    entire = {each["model"] for each in missing.values() if {"model", "why"} == set(each)}
    return [each for each in missing.values() if "probe" not in each or each["model"] not in entire]


def _measurement(job: Any) -> dict[str, str] | None:
    """The measurement of a job: its model, and probe or table; None for a job of all models."""
    names = job.wildcards_dict
    if job.rule.name in ENTIRE_RULES:
        return {"model": names["model"]}
    if job.rule.name in ("run_probe", "show_examples"):
        probe = names["probe"] if "probe" in names else Path(job.input.rows[0]).parent.name
        return {"model": names["model"], "probe": probe}
    if job.rule.name == "answer_table":
        return {"model": job.params.name, "table": names["table"]}
    return None


def run_without(left_out: Sequence[dict[str, str]], arguments: Sequence[str]) -> None:
    """Run the same command once more without these measurements; this run holds the lock of the folder already.

    Raises:
        FileNotFoundError: the folder in which the command was given is not known.
    """
    command = [sys.executable, "-m", "snakemake", *without_forcing(arguments), "--nolock"]
    environment = os.environ | {LEFT_OUT: json.dumps(left_out)}
    subprocess.run(command, env=environment, cwd=folder_of_command(arguments), check=False)


def folder_of_command(arguments: Sequence[str]) -> Path:
    """The folder in which the command was given; Snakemake itself works in the folder that `--directory` names."""
    here, named = Path.cwd(), None
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        match = FOLDER.fullmatch(argument)
        named = match[1] if match else following if argument in ("-d", "--directory") else named
    if named is None:
        return here
    given = Path(os.environ.get("PWD", ""))
    if not given.is_dir() or not (given / named).is_dir() or not (given / named).samefile(here):
        raise FileNotFoundError(f"the folder in which the command was given is not known; Snakemake runs in {here}")
    return given


def without_forcing(arguments: Sequence[str]) -> list[str]:
    """The arguments without those that make finished jobs run again, and without the names that follow these."""
    kept, names = [], False
    for argument in arguments:
        if not argument.startswith("-"):
            if not names:
                kept.append(argument)
            continue
        names = argument == "--forcerun" or (argument.startswith("-R") and "=" not in argument)
        if FORCING.fullmatch(argument) or argument.startswith("-R"):
            continue
        if SWITCHES.fullmatch(argument):
            names = argument.endswith("R")
            argument = re.sub("[FfR]", "", argument)
            if argument == "-":
                continue
        kept.append(argument)
    return kept


def reason_lines(left_out: Sequence[dict[str, str]], models: Collection[str]) -> list[str]:
    """A line for each model and each reason for which its measurements are left out, in the order of the study."""
    lines = []
    for model in models:
        reasons = dict.fromkeys(each["why"] for each in left_out if each["model"] == model)
        lines += [f"  {model}: {why}" for why in reasons]
    return lines

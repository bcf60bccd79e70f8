"""Finish a study without the measurements of single models that have failed.

Summaries, figures and the report need every model, and Snakemake holds back each job that needs a failed one.  So when
a run ends in which only jobs of models have failed, the same command is run once more without these: it makes the
summaries, figures and report of all others, and the report names what is missing and why.  The run counts as failed
all the same, and the next one measures what is missing.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from .plan import failure_of
from .snakemake import JobGraph

LEFT_OUT = "VLMFLOW_LEFT_OUT"

# Rules whose jobs belong to one model and one task; and all rules whose jobs belong to one model.
TASK_RULES = {"answer_questions", "draw_sample", "map_patches"}
MODEL_RULES = {"fetch_model", "run_probe", "answer_shard", "show_examples", *TASK_RULES}

# Arguments that have finished jobs run again: alone, or among other switches in one word; and the folder to run in.
FORCING = re.compile(r"--force(all|run)?(=.*)?")
SWITCHES = re.compile(r"-[npqkFfR]+")
FOLDER = re.compile(r"(?:--directory=|-d(?!$))(.+)")

# Characters of a reason: those of a large study have to fit into one environment variable.
LONGEST = 400


def read_left_out() -> list[dict[str, str]]:
    """What this run leaves out, as the run before it found: `model`, `why`, and `task`, `probe` or `table`."""
    return json.loads(os.environ.get(LEFT_OUT, "[]"))


def is_left_out(left: Sequence[dict[str, str]], model: str, task: str, probe: str | None = None) -> bool:
    """Whether a model's answers to a task, or a probe on them, are left out."""
    missing = {(each["model"], each.get("task"), each.get("probe")) for each in left}
    return bool(missing & {(model, task, None), (model, task, probe)})


def find_left_out(jobs: JobGraph, failed: Iterable[Any]) -> list[dict[str, str]]:
    """What has to be left out so that all else can be finished; nothing where that is not clear, or where other jobs
    than those of models have failed.

    Args:
        jobs: of this run.
        failed: those of them that have failed.
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
        return []  # the run was interrupted: more is left to do than what depends on the failed jobs
    found: dict[tuple, dict[str, str]] = {}
    for job in waiting:
        output = _measured(job)
        if output is not None:
            found.setdefault(tuple(output.items()), output | {"why": why[job]})
    entire = {(each["model"], each["task"]) for each in found.values() if {"model", "task", "why"} == set(each)}
    return [each for each in found.values() if "probe" not in each or (each["model"], each["task"]) not in entire]


def _measured(job: Any) -> dict[str, str] | None:
    """The measurement that is missing without a job: its model, task, probe or table; None for jobs of all models."""
    names = job.wildcards_dict
    if job.rule.name in TASK_RULES:
        return {"model": names["model"], "task": names["task"]}
    if job.rule.name in ("run_probe", "show_examples"):
        probe = names["probe"] if "probe" in names else Path(job.input.rows).parent.name
        return {"model": names["model"], "task": names["task"], "probe": probe}
    if job.rule.name == "answer_shard":
        return {"model": job.params.name, "table": names["table"]}
    return None


def run_without(left: Sequence[dict[str, str]], arguments: Sequence[str]) -> None:
    """Run the same command once more, without what is left out; this run has locked the folder already.

    Raises:
        FileNotFoundError: the folder in which the command was given is not known.
    """
    command = [sys.executable, "-m", "snakemake", *without_forcing(arguments), "--nolock"]
    environment = os.environ | {LEFT_OUT: json.dumps(left)}
    subprocess.run(command, env=environment, cwd=folder_of_command(arguments), check=False)


def folder_of_command(arguments: Sequence[str]) -> Path:
    """The folder in which the command was given: Snakemake itself works in the one that `--directory` names."""
    here, named = Path.cwd(), None
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        found = FOLDER.fullmatch(argument)
        named = found[1] if found else following if argument in ("-d", "--directory") else named
    if named is None:
        return here
    given = Path(os.environ.get("PWD", ""))
    if not given.is_dir() or not (given / named).is_dir() or not (given / named).samefile(here):
        raise FileNotFoundError(f"the folder in which the command was given that runs in {here} is not known")
    return given


def without_forcing(arguments: Sequence[str]) -> list[str]:
    """The arguments without those that have finished jobs run again, and without the names that follow these."""
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


def reason_lines(left: Sequence[dict[str, str]], models: Collection[str]) -> list[str]:
    """A line for each model some of whose measurements are left out, with the reason, in the order of the study."""
    lines = []
    for model in models:
        reasons = dict.fromkeys(each["why"] for each in left if each["model"] == model)
        lines += [f"  {model}: {why}" for why in reasons]
    return lines

"""Finish a study without what has failed of single models.

Summaries, figures and the report need every model, and Snakemake holds back what needs a job that failed.  So when a
run ends and only jobs of models have failed, the same command is run once more without those: it makes summaries,
figures and report of all others, and the report names what is missing and why.  The run counts as failed all the same,
and the next one asks for what is missing.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from .job import failure

LEFT_OUT = "VLMFLOW_LEFT_OUT"

# The jobs of models; others are everybody's.
ASKED = {"answer_questions", "draw_sample", "map_patches"}
MODEL_RULES = {"fetch_model", "run_probe", "answer_shard", "show_examples", *ASKED}

# Arguments that have finished jobs run again: alone, or among other switches in one word; and the folder to run in.
FORCING = re.compile(r"--force(all|run)?(=.*)?")
SWITCHES = re.compile(r"-[npqkFfR]+")
FOLDER = re.compile(r"(?:--directory=|-d(?!$))(.+)")

# Characters of a reason: the account of a large study has to fit into a variable of the environment.
LONGEST = 400


def left_out() -> list[dict[str, str]]:
    """What this run leaves out: a `model` each, with `task` and `probe`, or `table`, and `why`."""
    return json.loads(os.environ.get(LEFT_OUT, "[]"))


def is_left_out(left: Sequence[dict[str, str]], model: str, task: str, probe: str | None = None) -> bool:
    """Whether a model's answers to a task, or a probe on them, are left out."""
    places = {(each["model"], each.get("task"), each.get("probe")) for each in left}
    return bool(places & {(model, task, None), (model, task, probe)})


def to_leave_out(dag: Any, failed: Iterable[Any]) -> list[dict[str, str]]:
    """What has to be left out so that all else can be finished; nothing where that cannot be told, or where it is not
    the models that have failed.

    Args:
        dag: Snakemake's graph of jobs.
        failed: those of its jobs that have failed.
    """
    broken = list(failed)
    if not broken or any(job.rule.name not in MODEL_RULES for job in broken):
        return []
    why = dict.fromkeys(broken, "")
    for job in broken:
        cause = (failure(job.log[0]) if job.log else None) or "the job has ended without a word; its log may say why"
        why |= dict.fromkeys(_dependent(dag, job), cause if len(cause) <= LONGEST else f"{cause[:LONGEST]} …")
    waiting = [job for job in dag.needrun_jobs(exclude_finished=False) if not dag.finished(job)]
    if any(job not in why for job in waiting):
        return []  # the run was broken off: there is more to do than what hangs on the failed jobs
    found: dict[tuple, dict[str, str]] = {}
    for job in waiting:
        place = _place(job)
        if place is not None:
            found.setdefault(tuple(place.items()), place | {"why": why[job]})
    whole = {(each["model"], each["task"]) for each in found.values() if {"model", "task", "why"} == set(each)}
    return [each for each in found.values() if "probe" not in each or (each["model"], each["task"]) not in whole]


def _dependent(dag: Any, job: Any) -> list[Any]:
    """The job, and all that need it."""
    return list(dag.bfs(dag.depending, job))


def _place(job: Any) -> dict[str, str] | None:
    """What a job that has not run leaves missing; None for what is made of many models."""
    names = job.wildcards_dict
    if job.rule.name in ASKED:
        return {"model": names["model"], "task": names["task"]}
    if job.rule.name in ("run_probe", "show_examples"):
        probe = names["probe"] if "probe" in names else Path(job.input.rows).parent.name
        return {"model": names["model"], "task": names["task"], "probe": probe}
    if job.rule.name == "answer_shard":
        return {"model": job.params.name, "table": names["table"]}
    return None


def run_without(left: Sequence[dict[str, str]], arguments: Sequence[str]) -> None:
    """Run the same command once more, without what is left out; the folder is locked by this run already.

    Raises:
        FileNotFoundError: it is not known in which folder the command was given.
    """
    command = [sys.executable, "-m", "snakemake", *without_forcing(arguments), "--nolock"]
    environment = os.environ | {LEFT_OUT: json.dumps(left)}
    subprocess.run(command, env=environment, cwd=_where_given(arguments), check=False)


def _where_given(arguments: Sequence[str]) -> Path:
    """The folder in which the command was given: Snakemake itself has gone to the one that it was told."""
    here, told = Path.cwd(), None
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        found = FOLDER.fullmatch(argument)
        told = found[1] if found else following if argument in ("-d", "--directory") else told
    if told is None:
        return here
    given = Path(os.environ.get("PWD", ""))
    if not given.is_dir() or not (given / told).is_dir() or not (given / told).samefile(here):
        raise FileNotFoundError(f"in which folder the command was given that runs in {here} is not known")
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


def is_command(program: str) -> bool:
    """Whether Snakemake was started as a command, so that its arguments are known."""
    return Path(program).stem == "snakemake" or Path(program).parts[-2:] == ("snakemake", "__main__.py")


def told(left: Sequence[dict[str, str]], models: Collection[str]) -> list[str]:
    """A line for each model of which something is left out, in the order of the study."""
    lines = []
    for model in models:
        reasons = dict.fromkeys(each["why"] for each in left if each["model"] == model)
        lines += [f"  {model}: {why}" for why in reasons]
    return lines

"""The cost of a study's probes per question, and the share of start-up in a job, from the tables of a finished run.

    snakemake --configfile studies/demo-appendix.yaml --cores all
    python benchmarks/probes.py studies/demo-appendix.yaml

The job is the first shard of each probe with its first model; `questions` are those that it measured, and did not take
from the store. Token-layers (positions × layers that are computed, over all rows) are counted by hooks on the decoder's
layers, and given in forwards of the question's own prompt.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import yaml

from vlmflow.errors import QuestionError
from vlmflow.jobs.contents import ModelContents
from vlmflow.jobs.open_model import open_model
from vlmflow.probes.question import Question
from vlmflow.probes.rows import rows_of_tasks
from vlmflow.probes.run import ProbeRun
from vlmflow.report.cost import read_note
from vlmflow.study import Study, read_study
from vlmflow.tables import shard_names

IMPORTS = (
    "import time; t = time.perf_counter(); import vlmflow.probes.run, vlmflow.probes.rows; "
    "print(time.perf_counter() - t)"
)


def inputs(results: Path, model: str, task: str, probe, shards: list[str]) -> dict[str, Path | list[Path]]:
    """The inputs of a probe's job, with one task."""
    patches = results / model / "patches.parquet"

    def all_shards(step: str) -> list[Path]:
        return [results / model / step / f"{shard}.parquet" for shard in shards]

    return {
        "questions": [results / "tasks" / f"{task}.parquet"],
        "answers": all_shards("answers"),
        "selected": results / model / "selected.parquet",
        "patches": [patches] if patches.exists() else [],
        "norms": all_shards(probe.norms_probe) if probe.norms_probe else [],
    }


def applies(run: ProbeRun, question: Question) -> bool:
    """Whether a question can be measured."""
    try:
        run.measure(question)
    except QuestionError:
        return False
    return True


def cost(study: Study, name: str, results: Path, number: int, threads: int) -> dict[str, float | str]:
    """The cost of a probe, measured on some questions of its first model and task."""
    probe, model, task = study.probes[name], study.models_of(name)[0], study.tasks_of(name)[0]
    settings = study.models[model]
    shared = settings.model_dump(include={"path", "template", "fit", "dtype", "reads"})
    shared |= {"fetched": settings.fetched, **ModelContents().of_processor(settings)}
    shards = shard_names(settings.shards)
    questions = rows_of_tasks(probe, inputs(results, model, task, probe, shards), [task], study.sample.seed)
    all_questions = [Question.of(row) for row in questions.iter_rows(named=True)]
    start = time.perf_counter()
    with open_model(shared, settings.gpus, threads) as vlm:
        loading = time.perf_counter() - start
        run = ProbeRun(vlm, probe, name, instruction=settings.instruction, questions=all_questions)
        sizes: list[int] = []
        for layer in vlm.layers:
            layer.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].shape[0] * inputs[0].shape[1]))
        # The first measurement also includes the start of the libraries, and a search that a task has once.
        others = [question for question in all_questions[:number] if applies(run, question)]
        sizes.clear()
        start = time.perf_counter()
        for question in others:
            run.measure(question)
        seconds = (time.perf_counter() - start) / len(others)
        computed = sum(sizes) / len(others)
        forward = len(vlm.layers) * sum(len(run.context.prompt(question)) for question in others) / len(others)
    step = Path("run_probe", model, name, shards[0])
    job = pl.read_csv(results / "benchmarks" / step.with_suffix(".tsv"), separator="\t")["s"][0]
    measured = read_note(results / "logs" / step.with_suffix(".log")).measured
    return {
        "probe": name,
        "questions": measured,
        "token_layers": round(computed),
        "forwards": round(computed / forward, 1),
        "ms_per_question": round(1000 * seconds, 1),
        "loading_s": round(loading, 2),
        "job_s": round(job, 1),
        "start_up_share": round(max(0.0, 1 - measured * seconds / job), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--questions", type=int, default=20, help="questions, from the first task of each probe")
    parser.add_argument("--threads", type=int, default=1, help="number of threads, as a job has them")
    args = parser.parse_args()
    study = read_study(yaml.safe_load(Path(args.study).read_text()), args.study)
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True)
    print(f"imports: {float(done.stdout):.1f} s")
    for name in study.probes:
        print(json.dumps(cost(study, name, Path("results") / study.study, args.questions, args.threads)), flush=True)


if __name__ == "__main__":
    main()

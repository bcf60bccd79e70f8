"""The expected and the real cost of jobs with a model, from the benchmark files of a finished run.

    snakemake --configfile studies/demo-appendix.yaml --cores all
    python benchmarks/estimates.py studies/demo-appendix.yaml

`expected` is the cost model's estimate, `requested` the amount that is requested from a cluster at the first attempt.
Jobs that measured no question, since the store had all of them, are not shown.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import yaml

from vlmflow.jobs import estimates
from vlmflow.models.size import folder_size
from vlmflow.report.cost import read_note
from vlmflow.study import Study, read_study
from vlmflow.tables import shard_names


def jobs(study: Study, results: Path) -> Iterator[dict]:
    """A row for each job that asked a model questions, or ran a probe on it."""
    for name, model in study.models.items():
        if model.folder is None:
            continue
        size = folder_size(model.folder)
        for kind, folder in (("answers", "answer_questions"), *((probe, "run_probe") for probe in study.probes)):
            step = Path(folder, name, *([] if kind == "answers" else [kind]))
            for shard in shard_names(model.shards):
                file = results / "benchmarks" / step / f"{shard}.tsv"
                questions = read_note(results / "logs" / step / f"{shard}.log").measured
                if not questions or not file.exists():
                    continue
                work = estimates.answering()
                if kind != "answers":
                    per_task = questions * model.shards // len(study.tasks_of(kind))
                    work = study.probes[kind].cost(size, per_task)
                measurement = pl.read_csv(file, separator="\t", null_values=["-", "NA"])
                expected = estimates.seconds(work, size, questions, gpu=model.gpus > 0)
                yield {
                    "model": name,
                    "work": kind,
                    "shard": shard,
                    "questions": questions,
                    "seconds": measurement["s"][0],
                    "expected": round(expected, 1),
                    "requested, s": 60 * estimates.minutes(expected),
                    "MB": measurement["max_rss"][0],
                    "requested, MB": estimates.megabytes(size, model.dtype, gpu=model.gpus > 0),
                }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    args = parser.parse_args()
    study = read_study(yaml.safe_load(Path(args.study).read_text()), args.study)
    table = pl.DataFrame(list(jobs(study, Path("results") / study.study)), infer_schema_length=None)
    ratio = pl.col("expected") / pl.col("seconds")
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=160, float_precision=1):
        print(table.with_columns(ratio.alias("expected / seconds")))
        summary = {"lowest": ratio.min(), "median": ratio.median(), "highest": ratio.max()}
        print(table.select(**summary, over_memory=(pl.col("MB") > pl.col("requested, MB")).sum(), jobs=pl.len()))


if __name__ == "__main__":
    main()

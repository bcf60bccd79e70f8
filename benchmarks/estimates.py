"""The expected and the real cost of jobs with a model, from the benchmark files of a finished run.

    snakemake --configfile studies/demo-appendix.yaml --cores all
    python benchmarks/estimates.py studies/demo-appendix.yaml

`expected` is the cost model's estimate, `requested` the amount that is requested from a cluster at the first attempt.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import yaml

from vlmflow.jobs import estimates
from vlmflow.models.size import folder_size
from vlmflow.study import Study, read_study


def jobs(study: Study, results: Path) -> Iterator[dict]:
    """A row for each job that asked a model questions, or ran a probe on it."""
    for name, model in study.models.items():
        if model.folder is None:
            continue
        size = folder_size(model.folder)
        for kind, folder in (("answers", "answer_questions"), *((probe, "run_probe") for probe in study.probes)):
            benchmarks = results / "benchmarks" / folder / name / ("" if kind == "answers" else kind)
            for file in sorted(benchmarks.glob("*.tsv")):
                answered = pl.scan_parquet(results / name / "answers" / file.with_suffix(".parquet").name)
                rows = pl.scan_parquet(results / name / kind / file.with_suffix(".parquet").name)
                measured = rows.select(pl.col("question_id").n_unique()).collect().item()
                questions = answered.select(pl.len()).collect().item() if kind == "answers" else measured
                work = estimates.answering() if kind == "answers" else study.probes[kind].cost(size, questions)
                measurement = pl.read_csv(file, separator="\t", null_values=["-", "NA"])
                expected = estimates.seconds(work, size, questions, gpu=model.gpus > 0)
                yield {
                    "model": name,
                    "work": kind,
                    "task": file.stem,
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

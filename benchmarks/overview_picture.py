"""The picture of the overview in the README: the state of an invented run, as a terminal shows it.

python benchmarks/overview_picture.py docs/images/progress.svg
"""

import io
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from snakemake_logger_plugin_vlmflow import view
from snakemake_logger_plugin_vlmflow.state import Run

MODELS = {"llava-1.5-13b": 4, "llava-1.5-7b": 1, "llava-v1.6-vicuna-7b": 1}  # and their shards
STEPS = {"answers": "answer_questions", "flow": "run_probe", "tracking": "run_probe"}
HOUR = 3600.0
BAR = (
    "{step} {model}: {share} % |{bar:20}| {done:,} of {total:,} questions, {rate} questions/s, 30:00 gone, 9:00 left\n"
)
FONT = "<style>text { font-family: Menlo, Consolas, 'DejaVu Sans Mono', monospace !important; }</style></svg>"


def invented_run(folder: Path) -> Run:
    """A run in which the first model is answered, and its probe and the answers of the others are under way."""
    run = Run(start=0.0)
    jobs = [
        {
            "rule": STEPS[step],
            "wildcards": {"model": model} | named(step) | {"shard": f"{shard}-of-{shards}"},
            "step": (model, step),
        }
        for step in STEPS
        for model, shards in MODELS.items()
        for shard in range(1, shards + 1)
    ] + [{"rule": "draw_figure", "wildcards": {"figure": f"figure-{number}"}, "step": None} for number in range(9)]
    run.plan(
        job | {"jobid": number, "benchmark": None, "needs": [], "needs_model": job["step"] is not None, "runs": True}
        for number, job in enumerate(jobs, 1)
    )
    for number in range(1, 5):
        submit(run, number, None, 0.0)
        run.finish(number, 0.8 * HOUR)
    running = {5: ("answers", 71, 4260, 6000, "2.31"), 6: ("answers", 64, 3840, 6000, "2.05")}
    running |= {7: ("flow", 38, 554, 1459, "0.29"), 8: ("flow", 35, 525, 1502, "0.28")}
    for number, (step, share, done, total, rate) in running.items():
        log = folder / f"{number}.log"
        submit(run, number, str(log), 0.8 * HOUR)
        model = run.jobs[number].wildcards["model"]
        log.write_text(
            BAR.format(step=step, model=model, share=share, bar="█" * (share // 5), done=done, total=total, rate=rate)
        )
    submit(run, 20, None, 0.0)
    run.finish(20, 4.0)
    submit(run, 9, "results/flow/logs/run_probe/llava-1.5-13b/flow/3-of-4.log", 0.8 * HOUR)
    run.fail(9, 0.9 * HOUR)
    return run


def named(step: str) -> dict[str, str]:
    """The wildcard of a probe's job."""
    return {"probe": step} if STEPS[step] == "run_probe" else {}


def submit(run: Run, number: int, log: str | None, now: float) -> None:
    run.submit(number, run.jobs[number].rule, run.jobs[number].wildcards, log, now)


def main(path: str) -> None:
    console = Console(width=118, record=True, file=io.StringIO(), force_terminal=True)
    with tempfile.TemporaryDirectory() as folder:
        run = invented_run(Path(folder))
        console.print(view.overview(run, 1.3 * HOUR, clock=10 * HOUR, height=40))
    drawing = console.export_svg(title="snakemake --configfile studies/flow.yaml --cores all", unique_id="overview")
    Path(path).write_text(drawing.replace("</svg>", FONT), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])

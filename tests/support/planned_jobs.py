"""Jobs as Snakemake's plan has them, and a run of them."""

from snakemake_logger_plugin_vlmflow import view
from snakemake_logger_plugin_vlmflow.state import Run


def planned(jobid, rule="run_probe", needs=(), runs=True, needs_model=True, benchmark=None, **wildcards):
    return {
        "jobid": jobid,
        "rule": rule,
        "wildcards": wildcards,
        "benchmark": benchmark,
        "needs": list(needs),
        "needs_model": needs_model,
        "runs": runs,
    }


def run_of(*jobs):
    run = Run(start=0.0)
    run.plan(jobs)
    return run


def numbers(run):
    return {state: number for state, number, _ in view.counts(run)}


def busy(run, jobid, begin, end, **wildcards):
    run.submit(jobid, "run_probe", wildcards, None, now=begin)
    run.finish(jobid, now=end)

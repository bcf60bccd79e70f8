"""What a person sees while the workflow runs: done, running, waiting, failed, and an estimate of the rest.

A logger plug-in of Snakemake, `--logger vlmflow`; profiles/default switches it on where it is installed.  In a terminal
it draws an overview that stays at the bottom; elsewhere (a file, cron) it writes a line now and then.  Warnings,
errors and the logs of failed jobs are written as Snakemake writes them, and everything is in Snakemake's own log file.

It only looks on: a fault in here is told once, the overview is given up, and the run goes on under Snakemake's own
messages.
"""

from .handler import LogHandler

__all__ = ["LogHandler"]

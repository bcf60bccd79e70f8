"""The overview of a run: jobs that are done, running, waiting and failed, and an estimate of the remaining time.

A logger plug-in of Snakemake, `--logger vlmflow`; profiles/default switches it on if it is installed.  In a terminal it
draws an overview that stays at the bottom; elsewhere (a file, cron) it writes a line from time to time.  Warnings,
errors and the logs of failed jobs are written as Snakemake writes them, and everything is in Snakemake's own log file.

It never disturbs the run: after an error in the plug-in, which is reported once, the overview ends, and the run
continues with Snakemake's own messages.
"""

from .handler import LogHandler

__all__ = ["LogHandler"]

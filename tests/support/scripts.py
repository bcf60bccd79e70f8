"""Run the script of a rule without Snakemake."""

import runpy
from types import SimpleNamespace

from support.paths import ROOT


def run_script(script, folder, **job):
    """Run a rule's script as Snakemake does; its log lies in the folder."""
    snakemake = SimpleNamespace(log=[str(folder / "log")], **job)
    runpy.run_path(str(ROOT / "workflow_scripts" / script), {"snakemake": snakemake})

"""A copy of what the repository holds, in which the workflow is run, so that the real results are left alone."""

import os
import re
import shutil
import subprocess
import sys

import psutil
import yaml

from support import warm
from support.paths import ROOT

SNAKEMAKE = [sys.executable, "-m", "snakemake"]
# The environment of a machine whose locale is not UTF-8.
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
PARTS = ["Snakefile", "config.yaml", "rules", "workflow_scripts", "envs", "profiles", "studies", "resources/tiny-llava"]


class Workspace:
    """Where Snakemake runs.

    Args:
        folder: to which the copy is written.
        python: which Python runs it; by default runs, and their jobs, are forks of a process that has imported the
            libraries already.
        environment: added to the environment of every run.
    """

    def __init__(self, folder, python=None, **environment):
        self.folder, self.python = folder, python
        self.environment = os.environ | environment
        for part in PARTS:
            source, target = ROOT / part, folder / part
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)

    def write(self, study, name="study.yaml"):
        (self.folder / name).write_text(yaml.safe_dump(study, sort_keys=False))

    def snakemake(self, *arguments, study="study.yaml"):
        python = self.python or warm.python(self.environment)
        return subprocess.run(
            self._command(python, arguments, study),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, *arguments, output=None, study="study.yaml"):
        """A run that goes on meanwhile, for tests that disturb it; what it says is added to a file."""
        with (output or self.folder / "output").open("a") as file:
            return psutil.Popen(
                self._command(self.python or sys.executable, arguments, study),
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def _command(self, python, arguments, study):
        chosen = ["--configfile", study] if study else []
        return [python, "-m", "snakemake", *chosen, "--cores", "2", *arguments]

    def plan(self, study):
        """Snakemake's own plan for a study: rule → number of jobs."""
        self.write(study, "changed.yaml")
        done = self.snakemake("--dry-run", study="changed.yaml")
        assert done.returncode == 0, done.stdout + done.stderr
        return {
            rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE)
        }

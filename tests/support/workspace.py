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
    """Where Snakemake runs, by `python`; `environment` is added to the environment of every run."""

    python = sys.executable

    def __init__(self, folder, **environment):
        self.folder = folder
        self.environment, self.added = os.environ | environment, set(environment)
        for part in PARTS:
            source, target = ROOT / part, folder / part
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)

    def write(self, study, name="study.yaml"):
        (self.folder / name).write_text(yaml.safe_dump(study, sort_keys=False))

    def snakemake(self, *arguments, study="study.yaml"):
        command = self._command(arguments, study)
        if "--dry-run" in arguments and self.starts_as_the_tests:
            return warm.dry_run(command[3:], self.folder, self.environment)
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )

    @property
    def starts_as_the_tests(self):
        """Whether nothing is different for Python while it starts."""
        return self.python == sys.executable and not self.added & {*ASCII, "PYTHONPATH"}

    def start(self, *arguments, output=None, study="study.yaml"):
        """A run that goes on meanwhile, for tests that disturb it; what it says is added to a file."""
        with (output or self.folder / "output").open("a") as file:
            return psutil.Popen(
                self._command(arguments, study),
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def _command(self, arguments, study):
        chosen = ["--configfile", study] if study else []
        return [self.python, *SNAKEMAKE[1:], *chosen, "--cores", "2", *arguments]

    def plan(self, study):
        """Snakemake's own plan for a study: rule → number of jobs."""
        self.write(study, "changed.yaml")
        done = self.snakemake("--dry-run", study="changed.yaml")
        assert done.returncode == 0, done.stdout + done.stderr
        return {
            rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE)
        }

"""A job that is killed at a random moment repeats only what it measured since it last saved; ten times out of ten."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time

import polars as pl
import pytest

from support.noise import noise_image
from support.paths import ROOT, TINY_LLAVA
from vlmflow.jobs import measure
from vlmflow.probes.question import Question
from vlmflow.probes.stored import StoredTask
from vlmflow.store.contents import Contents
from vlmflow.store.measurements import Collection
from vlmflow.tables import TASK

pytestmark = pytest.mark.slow
KILLS = 10
SAVED_EVERY = 0.5  # seconds in place of 20, so that the job need not take minutes
QUESTIONS = 500
SETTINGS = dict.fromkeys(("content", "template", "template_text", "dtype", "instruction", "fit", "reads"), "")

# Loads a model; then, for each line that it reads, a child measures, and writes the time and key of each measurement.
# Before it forks it starts no thread that holds a lock, and has no lock that a child could hold when it is killed: that
# of progress bars is shared between processes, and their monitor is a thread.
SERVER = f"""
import contextlib, json, os, sys, threading, time
from tqdm import tqdm
tqdm.monitor_interval = 0
tqdm.set_lock(threading.RLock())
import torch
torch.set_num_threads(1)
torch.set_num_threads = lambda _: None
import polars as pl
from vlmflow import load_model
from vlmflow.jobs import measure
from vlmflow.store import measurements
from vlmflow.tables import Shard

vlm = load_model({str(TINY_LLAVA)!r}, device="cpu")
measurements.SAVED_EVERY = {SAVED_EVERY}
measure.open_model = lambda *_: contextlib.nullcontext(vlm)
add = measurements.Collection.add

def reporting_add(self, key, measurement):
    add(self, key, measurement)
    os.write(1, f"{{time.monotonic()}} {{key}}\\n".encode())

measurements.Collection.add = reporting_add
for line in sys.stdin:
    run = json.loads(line)
    child = os.fork()
    if child == 0:
        os.environ[measurements.FOLDER] = run["store"]
        sys.stdout = sys.stderr
        step = measure.answering("m", run["settings"], "code", "strict")
        rows, _ = measure.measure_shard(step, pl.read_parquet(run["rows"]), Shard(1, 1), "t", gpus=0, threads=1)
        step.table.write(rows, run["table"])
        os._exit(0)
    os.write(1, f"child {{child}}\\n".encode())
    os.waitpid(child, 0)
    os.write(1, b"ended\\n")
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for number in range(50):
        noise_image(40, number).save(folder / f"{number}.png")
    texts = ("what color is the circle , red or blue ?", "is the square red ?")
    known = {"width": 40, "height": 40, "answer": "red", "structural": "query", "semantic": "attr", "detailed": ""}
    return TASK.frame(
        [
            known
            | {"question_id": str(number), "image_id": str(number % 50), "image": str(folder / f"{number % 50}.png")}
            | {"question": texts[number % 2], "objects": []}
            for number in range(QUESTIONS)
        ]
    ).select(pl.lit("A").alias("task"), pl.all())


class Server:
    """Measures in processes of its own, which can be killed."""

    def __init__(self, folder, rows):
        self.folder = folder
        rows.write_parquet(folder / "rows.parquet")
        environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow_scripts")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def run(self, name, store, seconds=None):
        """(time, key) of everything that a job measured until its end, or until it was killed; and when that was.

        Args:
            name: of the table that it writes.
            store: name of its store.
            seconds: after its first measurement, when it is killed.
        """
        job = {"store": str(self.folder / store), "settings": SETTINGS, "rows": str(self.folder / "rows.parquet")}
        print(json.dumps(job | {"table": str(self.folder / name)}), file=self.process.stdin, flush=True)
        child = int(self.process.stdout.readline().split()[1])
        done, killed = [], None
        for line in self.process.stdout:
            if line == "ended\n":
                return done, killed or time.monotonic()
            when, key = line.split()
            done.append((float(when), key))
            if seconds is not None and killed is None and done[-1][0] - done[0][0] >= seconds:
                os.kill(child, signal.SIGKILL)
                killed = time.monotonic()
        raise AssertionError("the server has ended")


@pytest.fixture
def server(tmp_path, rows):
    server = Server(tmp_path, rows)
    yield server
    server.process.kill()
    server.process.wait()


def test_ten_kills_cost_what_was_not_yet_saved(tmp_path, server, rows):
    whole, _ = server.run("undisturbed.parquet", "store 1")
    assert len(whole) == QUESTIONS
    duration = whole[-1][0] - whole[0][0]
    rng, lost, repeated = random.Random(0), [], []
    for _ in range(KILLS):
        done, killed = server.run("killed.parquet", "store 2", seconds=rng.uniform(0, 1.6 * duration / KILLS))
        kept = keys_in(tmp_path / "store 2", rows)
        missing = [when for when, key in done if key not in kept]
        repeated.append(len(missing))
        lost.append(killed - min(missing, default=killed))
    print(f"{QUESTIONS / duration:.0f} questions/s; repeated {repeated}, seconds {[round(each, 2) for each in lost]}")
    longest = max(later - earlier for (earlier, _), (later, _) in itertools.pairwise(whole))
    assert max(lost) < SAVED_EVERY + longest + 0.5
    assert sum(each > 0 for each in repeated) >= 2, "some kills came between two savings"
    server.run("killed.parquet", "store 2")
    assert (tmp_path / "killed.parquet").read_bytes() == (tmp_path / "undisturbed.parquet").read_bytes()
    assert not [path for path in (tmp_path / "store 2").rglob(".*") if path.is_file()], "nothing half written is left"


def keys_in(store, rows):
    """The keys of the questions that a new job would find."""
    step = measure.answering("m", SETTINGS, "code", "strict")
    collection = Collection(step.kind, step.depends_on, step.table, store)
    task = StoredTask(rows, collection, Contents(store / "contents.parquet"))
    keys = {task.key(Question.of(row).id) for row in rows.iter_rows(named=True)}
    collection.load(keys)
    return {key for key in keys if collection.find(key, lambda _: []) is not None}

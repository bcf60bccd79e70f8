"""Leases of GPUs, by processes that end well and by some that do not; the GPUs themselves are only named here."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time

import pytest

from support.paths import ROOT, TINY_LLAVA
from vlmflow.errors import DeviceError
from vlmflow.jobs import gpu_lease
from vlmflow.jobs.gpu_lease import leased, visible_gpus

HOLD = (
    "import os, sys, time; from vlmflow.jobs import gpu_lease; gpu_lease.POLL = 0.05\n"
    "with gpu_lease.leased(int(sys.argv[1])) as device:\n"
    "    print(device, os.environ['CUDA_VISIBLE_DEVICES'], flush=True)\n"
    "    sys.stdin.read()"
)


@pytest.fixture
def two_gpus(monkeypatch):
    """A machine with two cards, by names that no other test uses."""
    names = [f"GPU-test-{os.getpid()}-{number}" for number in range(2)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(names))
    return names


def holder(count=1, code=HOLD, **options):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code, str(count)], **pipes, **options)


def waits(process, seconds=0.3):
    """Whether it says that it waits, and nothing after that for a while."""
    while not (text := process.stdout.readline()).startswith("waiting"):
        assert text.startswith("GPU "), text
    return not select.select([process.stdout], [], [], seconds)[0]


def line(process):
    """What the process says, without its remarks on waiting."""
    while (text := process.stdout.readline().strip()).startswith(("GPU ", "wait")):
        pass
    return text


@contextlib.contextmanager
def leased_by_nobody_else(names):
    """Those of the cards that could be had now."""
    leases = {name: gpu_lease._lease(name) for name in names}
    yield [name for name, lease in leases.items() if lease is not None]
    for lease in filter(None, leases.values()):
        lease.close()


def end(*processes):
    for process in processes:
        process.communicate("", timeout=30)


def test_two_jobs_get_two_cards_and_a_third_waits(two_gpus):
    first, second = holder(), holder()
    taken = {line(first), line(second)}
    assert taken == {f"None {name}" for name in two_gpus}
    third = holder()
    assert waits(third)
    mine = {text.split()[-1] for text in taken}
    end(first)
    assert line(third).split()[-1] in mine
    with leased_by_nobody_else(two_gpus) as free:
        assert free == []
    end(second, third)


def test_a_lease_ends_with_the_process_however_it_ends(two_gpus):
    first, second = holder(), holder()
    assert {line(first), line(second)} == {f"None {name}" for name in two_gpus}
    first.send_signal(signal.SIGKILL)
    first.wait()
    with leased(1) as device:
        assert device is None
        assert os.environ["CUDA_VISIBLE_DEVICES"] in two_gpus
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ",".join(two_gpus)
    end(second)


def test_a_model_that_needs_two_cards_takes_both_at_once(two_gpus, monkeypatch):
    monkeypatch.setattr(gpu_lease, "POLL", 0.05)
    one = holder()
    line(one)
    both = holder(2)
    assert waits(both)
    # While it waits for the second card it holds none: the free one can still be taken.
    with leased(1):
        assert both.poll() is None
    end(one)
    assert line(both) == f"auto {','.join(two_gpus)}"
    end(both)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_users_job_is_seen(two_gpus, tmp_path):
    """Nor does it matter where each of them keeps temporary files."""
    becomes_nobody = HOLD.replace("with ", "os.setgid(65534); os.setuid(65534)\nwith ")
    mine, theirs = holder(), holder(code=becomes_nobody, env=os.environ | {"TMPDIR": str(tmp_path)})
    assert {line(mine), line(theirs)} == {f"None {name}" for name in two_gpus}
    third = holder()
    assert waits(third)
    end(theirs)
    assert line(third).startswith("None ")
    end(mine, third)


def test_cards_that_only_have_numbers_are_those_of_the_clusters_job(monkeypatch):
    """Every job of a scheduler's may call its own card 0."""
    number = str(10_000_000 + os.getpid())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", number)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with leased(1):
        same, other = holder(), holder(env=os.environ | {"SLURM_JOB_ID": "8", "CUDA_VISIBLE_DEVICES": number})
        assert line(other) == f"None {number}"
        assert waits(same)
    assert line(same) == f"None {number}"
    end(same, other)


def test_a_lease_that_cannot_be_taken_is_an_error(monkeypatch):
    """Not a card that is busy for ever."""
    monkeypatch.setattr(gpu_lease, "_address", lambda name: "/no/such/folder/lease")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a")
    with pytest.raises(FileNotFoundError), leased(1):
        pass


def test_a_request_for_more_cards_than_there_are_is_an_error(two_gpus):
    with pytest.raises(DeviceError, match="3 GPUs are requested, but only 2 are visible to this process"), leased(3):
        pass


def test_without_cards_the_lease_is_no_card(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []
    with leased(1) as device:
        assert device is None
    with leased(0) as device:
        assert device == "cpu"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with a driver, and whatever nvidia-smi and Python are said to print there."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    monkeypatch.setattr(gpu_lease, "DRIVERS", ("/dev/null",))

    def says(text, status=0, counted=None):
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\nprintf '{text}'\nexit {status}\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        if counted is not None:
            tool.unlink()
            python = tmp_path / "python"
            python.write_text(f"#!/bin/sh\nprintf 'a remark\\n{counted}\\n'\n")
            python.chmod(0o755)
            monkeypatch.setattr(gpu_lease.sys, "executable", str(python))

    return says


ALIKE = "0, GPU-aaaa, A100\\n1, GPU-bbbb, A100\\n2, GPU-bbcc, A100\\n"
MIXED = "0, GPU-aaaa, T400\\n1, GPU-bbbb, A100\\n"


@pytest.mark.parametrize(
    ("visible", "seen"),
    [
        (None, ["GPU-aaaa", "GPU-bbbb", "GPU-bbcc"]),
        ("1", ["GPU-bbbb"]),
        ("GPU-bbb", ["GPU-bbbb"]),  # CUDA takes the beginning of a name for the whole
        ("2,0", ["GPU-bbcc", "GPU-aaaa"]),
        ("0,0", ["GPU-aaaa"]),
        ("1,-1,0", ["GPU-bbbb"]),  # CUDA reads up to the first that is none
        ("MIG-7", ["MIG-7"]),
        ("", []),
        ("-1", []),
    ],
)
def test_cards_have_one_name_in_every_process(machine, monkeypatch, visible, seen):
    """Jobs of a cluster may each call their own card 0."""
    machine(ALIKE)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert visible_gpus() == seen


def test_numbers_of_cards_of_several_kinds_are_ambiguous(machine, monkeypatch):
    machine(MIXED)
    assert visible_gpus() == ["GPU-aaaa", "GPU-bbbb"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(DeviceError, match=r"CUDA_VISIBLE_DEVICES=0: .* set CUDA_DEVICE_ORDER=PCI_BUS_ID"):
        visible_gpus()
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert visible_gpus() == ["GPU-aaaa"]


def test_a_driver_that_fails_is_an_error_and_not_days_on_the_cpu(machine, monkeypatch):
    machine("Driver/library version mismatch", status=18)
    with (
        pytest.raises(DeviceError, match=r"nvidia-smi fails \(Driver/library version mismatch\); .*`gpus: 0`"),
        leased(1),
    ):
        pass
    with leased(0) as device:
        assert device == "cpu"
    monkeypatch.setattr(gpu_lease, "DRIVERS", ())
    assert visible_gpus() == []


def test_cards_that_no_tool_lists_are_counted_by_pytorch(machine, monkeypatch, tmp_path):
    machine("", counted=2)
    assert visible_gpus() == ["0", "1"]
    machine("", counted=0)
    with pytest.raises(DeviceError, match=r"a GPU's driver is loaded \(/dev/null\), but PyTorch finds no card"):
        visible_gpus()
    monkeypatch.setattr(gpu_lease, "DRIVERS", ())
    assert visible_gpus() == []
    with pytest.raises(DeviceError, match="2 GPUs are requested, but none is visible to this process"), leased(2):
        pass


def test_a_process_keeps_its_cards_until_it_ends(two_gpus):
    """What it has put on them stays as long, whatever it does with the model."""
    code = (
        "import sys; from vlmflow.jobs import gpu_lease\n"
        "print(gpu_lease.lease_until_exit(1), gpu_lease.lease_until_exit(1), flush=True)\n"
        "sys.stdin.read()\n"
        "try: gpu_lease.lease_until_exit(2)\n"
        "except gpu_lease.DeviceError as error: print(error)"
    )
    fewer = (
        "from vlmflow.jobs import gpu_lease\n"
        "print([gpu_lease.lease_until_exit(count) for count in (2, 1, 0, 1)], flush=True)"
    )
    assert line(holder(code=fewer)) == "['auto', 'auto', 'cpu', 'auto']"
    keeper = holder(code=code)
    assert line(keeper) == "None None"
    other = holder()
    assert line(other).startswith("None ")
    with leased_by_nobody_else(two_gpus) as free:
        assert free == []
    told, _ = keeper.communicate("", timeout=30)
    assert "2 GPUs are requested, but this process has already leased 1" in told
    end(other)
    with leased_by_nobody_else(two_gpus) as free:
        assert free == two_gpus


def test_a_model_is_opened_on_a_card_that_stays_leased(two_gpus):
    code = (
        "import sys; from vlmflow.jobs.open_model import open_model\n"
        f"settings = dict(path={str(ROOT / TINY_LLAVA)!r}, fetched=None, dtype='float32', template='own', "
        "reads='image', fit='own', processor_content='')\n"
        "with open_model(settings, 1, 1): pass\n"
        "print('closed', flush=True); sys.stdin.read()"
    )
    opener = holder(code=code)
    assert line(opener) == "closed"
    with leased_by_nobody_else(two_gpus) as free:
        assert len(free) == 1
    end(opener)


def test_a_job_notes_how_many_cards_it_had(two_gpus, tmp_path):
    """Beside its log, for the account of the cost; a job without cards leaves no note of an earlier one."""
    code = (
        "import sys; from vlmflow.jobs import gpu_lease; from vlmflow.jobs.job import logged\n"
        "gpu_lease.POLL = 0.05\n"
        "with logged(sys.argv[1]): gpu_lease.lease_until_exit(int(sys.argv[2]))"
    )
    note = tmp_path / "job.cost.json"
    for count, expected in ((2, {"gpus": 2, "waited": 0.0}), (1, {"gpus": 1, "waited": 0.0}), (0, None)):
        subprocess.run([sys.executable, "-c", code, tmp_path / "job.log", str(count)], check=True)
        assert (json.loads(note.read_text()) if note.exists() else None) == expected
    keep = "import sys; from vlmflow.jobs import gpu_lease; print(gpu_lease.lease_until_exit(2), flush=True)"
    keeper = holder(code=f"{keep}; sys.stdin.read()")
    assert line(keeper) == "auto"
    waiter = subprocess.Popen([sys.executable, "-c", code, tmp_path / "job.log", "1"])
    time.sleep(2)
    end(keeper)
    assert waiter.wait(30) == 0
    assert json.loads(note.read_text())["waited"] > 0.1
    assert (tmp_path / "job.log").read_text().splitlines()[1].startswith("waited ")

"""Leases of GPUs, by processes that end well and by some that do not; the GPUs themselves are only named here."""

import os
import signal
import subprocess
import sys
import time

import pytest

from vlmflow import devices
from vlmflow.devices import DeviceError, leased, visible_gpus

HOLD = (
    "import os, sys, time; from vlmflow import devices; devices.POLL = 0.05\n"
    "with devices.leased(int(sys.argv[1])) as device:\n"
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


def line(process):
    """What the process says, without its remarks on waiting."""
    while (text := process.stdout.readline().strip()).startswith(("GPU ", "wait")):
        pass
    return text


def end(*processes):
    for process in processes:
        process.communicate("", timeout=30)


def test_two_jobs_get_two_cards_and_a_third_waits(two_gpus):
    first, second = holder(), holder()
    taken = {line(first), line(second)}
    assert taken == {f"None {name}" for name in two_gpus}
    third = holder()
    time.sleep(1)
    assert third.poll() is None
    end(first)
    assert line(third) in taken
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
    monkeypatch.setattr(devices, "POLL", 0.05)
    one = holder()
    line(one)
    both = holder(2)
    time.sleep(0.5)
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
    time.sleep(0.5)
    assert third.poll() is None
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
        time.sleep(0.3)
        assert same.poll() is None
    assert line(same) == f"None {number}"
    end(same, other)


def test_a_lease_that_cannot_be_had_at_all_is_an_error(monkeypatch):
    """Not a card that is busy for ever."""
    monkeypatch.setattr(devices, "_address", lambda name: "/no/such/folder/lease")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a")
    with pytest.raises(FileNotFoundError), leased(1):
        pass


def test_more_cards_than_there_are(two_gpus):
    with pytest.raises(DeviceError, match="3 GPUs are asked for, but this process sees 2"), leased(3):
        pass


def test_without_cards(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []
    with leased(1) as device:
        assert device is None
    with leased(0) as device:
        assert device == "cpu"


def test_a_machine_whose_cards_no_tool_lists(monkeypatch, tmp_path):
    """A driver without nvidia-smi: the cards are counted by PyTorch, here none."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(devices, "DRIVERS", ("/dev/null",))
    monkeypatch.setattr(devices.sys, "executable", "/bin/echo")
    with pytest.raises(ValueError, match="invalid literal"):  # it is asked: echo repeats the question
        visible_gpus()
    monkeypatch.setattr(devices, "DRIVERS", (str(tmp_path / "none"),))
    assert visible_gpus() == []
    with pytest.raises(DeviceError, match="2 GPUs are asked for, but this process sees none"), leased(2):
        pass


def test_numbers_become_the_cards_own_names(monkeypatch, tmp_path):
    """Jobs of a cluster may each call their own card 0."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '0, GPU-aaa'\necho '1, GPU-bbb'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == ["GPU-aaa", "GPU-bbb"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert visible_gpus() == ["GPU-bbb"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-7")
    assert visible_gpus() == ["MIG-7"]

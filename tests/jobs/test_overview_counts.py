"""The overview of a run: which jobs are waiting, running and done, by Snakemake's events and the jobs' logs."""

import os

from snakemake_logger_plugin_vlmflow.logs import last_line
from snakemake_logger_plugin_vlmflow.state import Run
from support.planned_jobs import numbers, planned, run_of


def test_jobs_go_from_waiting_over_running_to_done():
    run = run_of(planned(1, model="m"), planned(2, model="m"), planned(3, needs=[1, 2]), planned(4, runs=False))
    assert numbers(run) == {"done": 0, "running": 0, "waiting": 3}
    run.submit(1, "run_probe", {"model": "m"}, None, now=1.0)
    assert numbers(run) == {"done": 0, "running": 1, "waiting": 2}
    run.finish(1, now=11.0)
    assert numbers(run) == {"done": 1, "running": 0, "waiting": 2}
    assert run.samples == [((True, "run_probe", "m"), 10.0)]
    run.finish(1, now=12.0)
    run.finish(99, now=12.0)
    assert len(run.samples) == 1


def test_jobs_that_need_a_failed_job_wait_until_it_is_tried_again():
    run = run_of(planned(1), planned(2, needs=[1]), planned(3, needs=[2]), planned(4))
    run.submit(1, "run_probe", {}, None, now=0.0)
    run.fail(1, now=1.0)
    assert numbers(run) == {"done": 0, "running": 0, "waiting": 1, "failed": 1, "held up by them": 2}
    run.submit(1, "run_probe", {}, None, now=2.0)
    assert numbers(run) == {"done": 0, "running": 1, "waiting": 3}


def test_without_a_plan_jobs_are_known_by_their_rules():
    run = Run(start=0.0)
    run.expect({"run_probe": 2, "all": 1, "total": 3})
    assert run.total == 3
    run.submit(7, "run_probe", {"model": "m"}, None, now=0.0)
    assert numbers(run) == {"done": 0, "running": 1, "waiting": 2}
    run.submit(8, "unheard_of", {}, None, now=0.0)
    assert run.total == 4


def test_a_job_of_a_cluster_runs_once_its_log_is_written(tmp_path):
    log = tmp_path / "job.log"
    log.write_text("of an earlier run")
    os.utime(log, (1, 1))
    run = run_of(planned(1), planned(2))
    run.remote = True
    for jobid in (1, 2):
        run.submit(jobid, "run_probe", {}, str(log) if jobid == 1 else str(tmp_path / "none"), now=0.0)
    run.update(now=5.0)
    assert numbers(run) == {"done": 0, "running": 0, "in the queue": 2, "waiting": 0}
    log.write_text("begun")
    run.update(now=100.0)
    assert numbers(run) == {"done": 0, "running": 1, "in the queue": 1, "waiting": 0}
    run.finish(1, now=160.0)
    assert [seconds for _, seconds in run.samples] == [60.0]  # without the time in the queue


def test_the_last_line_of_a_log_is_read(tmp_path):
    log = tmp_path / "log"
    assert last_line(None).text == last_line(str(log)).text == ""
    log.write_text(
        "x" * 9000 + "\nflow m T:  38 % |███     | 412 of 1000 questions, 3.21 questions/s, 02:08 gone, ? left\n"
    )
    assert last_line(str(log)).text == "412 of 1000, 3.21 questions/s"
    assert last_line(str(log)).share == 0.38
    log.write_bytes(b"\xff\xfe\rWeights:  1%\rWeights: 100%\x1b[A\n\n")
    assert last_line(str(log)).text == "Weights: 100%[A"

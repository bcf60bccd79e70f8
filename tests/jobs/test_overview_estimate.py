"""The overview of a run: the time left, by jobs of this run and of earlier ones."""

import pytest

from snakemake_logger_plugin_vlmflow import view
from snakemake_logger_plugin_vlmflow.estimate import concurrency, estimate
from support.planned_jobs import busy, planned, run_of


def test_nothing_is_estimated_before_a_job_has_finished():
    run = run_of(planned(1), planned(2), planned(3, rule="draw", needs_model=False))
    assert estimate(run, now=5.0) is None
    busy(run, 1, 0.0, 10.0)
    assert estimate(run, now=10.0) is None  # nothing is known of jobs that ask no model
    assert "unknown" in view.time_left(run, 10.0, 0.0)


def test_the_estimate_is_made_by_model_and_by_how_many_jobs_run_at_a_time():
    """Two at a time; the large model's jobs take 100 s, the small one's 10 s."""
    run = run_of(
        *(planned(n, model="small") for n in (1, 2, 3)),
        *(planned(n, model="large") for n in (4, 5, 6, 7)),
        planned(8, model="other"),
        planned(9, rule="all", needs_model=False),
    )
    run.submit(1, "run_probe", {"model": "small"}, None, now=0.0)
    run.submit(4, "run_probe", {"model": "large"}, None, now=0.0)
    run.finish(1, now=10.0)
    busy(run, 2, 10.0, 20.0, model="small")
    run.submit(5, "run_probe", {"model": "large"}, None, now=20.0)
    run.finish(4, now=100.0)
    assert concurrency(run, now=100.0) == pytest.approx(2)
    # left: 20 of the one that runs, 10 small, 2 × 100 large, and another model's by the mean of its rule, 40
    assert estimate(run, now=100.0).seconds == pytest.approx((20 + 10 + 200 + 40) / 2)


def test_the_estimate_is_at_least_the_rest_of_the_job_that_runs():
    run = run_of(*(planned(n) for n in range(5)))
    for n in range(4):
        run.submit(n, "run_probe", {}, None, now=0.0)
    for n in range(4):
        run.finish(n, now=100.0)
    run.submit(4, "run_probe", {}, None, now=100.0)
    assert estimate(run, now=110.0).seconds == pytest.approx(90)


def test_earlier_runs_are_the_basis_until_this_run_has_finished_a_job(tmp_path):
    for name, seconds in (("a", 30.0), ("b", 50.0)):
        (tmp_path / name).write_text(f"s\th:m:s\n{seconds}\t0:00:30\n")
    (tmp_path / "broken").write_text("nothing")
    kept = planned(1, runs=False, benchmark=str(tmp_path / "a"))
    again = planned(2, benchmark=str(tmp_path / "b"))
    run = run_of(kept, again, planned(3, benchmark=str(tmp_path / "broken")), planned(4, benchmark="nowhere"))
    left = estimate(run, now=0.0)
    assert (left.seconds, left.now, left.earlier) == (120.0, 0, 2)
    assert "by 2 of earlier runs" in view.time_left(run, 0.0, 0.0)
    busy(run, 2, 0.0, 10.0)
    assert estimate(run, now=10.0).seconds == 20.0


def test_a_rule_without_a_finished_job_is_named():
    run = run_of(planned(1, rule="answer_questions"), planned(2, rule="run_probe"))
    run.submit(1, "answer_questions", {}, None, now=0.0)
    run.finish(1, now=10.0)
    assert view.time_left(run, 10.0, 0.0).endswith("by 1 finished job; none of run_probe yet")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (125, "2 min 5 s"), (700, "12 min"), (12_000, "3 h 20 min"), (187_200, "2 d 4 h")],
)
def test_durations_have_at_most_two_units(seconds, text):
    assert view.duration(seconds) == text

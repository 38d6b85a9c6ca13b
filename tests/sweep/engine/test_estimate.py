"""What a launch says before it runs and at its end: each line says what it means, in every case."""

import io

import pytest
from rich.console import Console

from sweep.engine import estimate
from sweep.engine.options import Ending
from sweep.launch import main
from sweep.study import load
from tests.commands import run
from tests.sweep.engine.test_reuse import STUDY, result, write


@pytest.fixture
def preview(study_file, tmp_path):
    """The lines of a dry run of a study of four trials, with further words, once some have results."""

    def preview(*words, text=STUDY, finished=0):
        path = study_file(text, "mine.yaml")
        if finished:
            write(tmp_path / "results" / "mine", *map(result, load(path).trials()[:finished]))
        return run(main, path, "--dry-run", "--results", tmp_path / "results", *words).stdout.splitlines()

    return preview


def test_a_preview_says_how_many_trials_how_many_steps_and_how_long(preview):
    trials, steps, seconds = preview("--workers", 2)
    assert trials == "mine: 4 trials, 0 with a result, 4 to run"
    assert steps == "80 steps of training are to run; no trials share any"
    assert seconds.startswith("about ") and " with 1, " in seconds
    assert seconds.endswith(" with one for each trial (estimated from steps timed on this machine's CPU)")


def test_training_that_trials_have_in_common_is_said_with_its_share(preview):
    _, steps, _ = preview(text=STUDY.replace("epochs: 2", "epochs: 2\nprune_epoch: 1"))
    assert (
        steps
        == "60 of 80 steps of training are to run; the other 25% is shared between trials (2 saved states)"
    )


def test_a_limited_launch_says_that_it_runs_some_now(preview):
    assert preview("--max-trials", 1)[0] == "mine: 4 trials, 0 with a result, 1 to run now"
    assert preview("--max-trials", 9)[0] == "mine: 4 trials, 0 with a result, 4 to run"


def test_a_study_that_is_done_has_nothing_left_to_run_and_no_share_of_nothing(preview):
    assert preview(finished=4)[1:] == ["nothing is left to run"]


def test_combinations_that_are_one_trial_are_counted_once(preview):
    twice = STUDY.replace("[random, snip]", "[random, snip]\niterations: [1, 1]")
    assert (
        preview(text=twice)[0]
        == "mine: 4 trials (8 combinations, equal ones once), 0 with a result, 4 to run"
    )


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        (["ok"] * 3, "1 trial has no result: launch again to run it"),
        (["ok"] * 2, "2 trials have no result: launch again to run them"),
        (["ok", "ok", "ok", "failed"], '1 trial failed: python -m analysis sql "SELECT trial_id, error FROM'),
    ],
)
def test_the_end_counts_one_and_many(study_file, tmp_path, statuses, said):
    out = io.StringIO()
    trials = load(study_file(STUDY, "mine.yaml")).trials()
    console = Console(file=out, width=500)
    console.quiet = False
    done = {trial.id: {"status": status} for trial, status in zip(trials, statuses, strict=False)}
    assert estimate.summary(console, trials, done, tmp_path, Ending.FINISHED, limited=False) == 1
    assert said in out.getvalue()

"""The running trials in the watched report: what their workers leave, and what others might leave there."""

import json
import math
import threading
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest

import analysis
from analysis.report import report, running, watch
from analysis.warehouse.live import live
from tests.analysis.conftest import trial

ID = "0a1b2c3d4e5f6071"


def left(folder, name=ID, **changes):
    """What a worker leaves of a trial that has run for a hundred seconds."""
    content = {
        "trial_id": name,
        "config": trial(name, sparsity=0.95, seed=3)["config"],
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "done": 10.0,
        "epochs": 40.0,
        "seconds": 100.0,
        "headline": "accuracy",
        "curves": [["dense", 1.0, 0.25], ["dense", 2.0, None], ["retrain", 3.0, 0.75]],
        **changes,
    }
    (folder / "running").mkdir(parents=True, exist_ok=True)
    (folder / "running" / f"{name}.json").write_text(json.dumps(content))


def test_a_running_trial_is_a_line_with_its_epoch_latest_accuracy_and_curve(made):
    left(made)
    for folder in (made, made.parent):
        [found] = live(folder)
        assert (found.study, found.done, found.epochs, found.silent) == ("made", 10, 40, False)
        assert found.curve[::2] == (0.25, 0.75) and math.isnan(found.curve[1])
    page = running.section([found])
    assert f"made: digits, conv-5, 2 epochs, pruned at epoch 0: snip sparsity 0.95 seed 3 ({ID})" in page
    assert "10 of 40" in page and "accuracy 0.7500" in page and "<polyline" in page and "silent" not in page
    assert running.section([]) == ""


def test_a_trial_that_has_said_nothing_for_epochs_is_silent(made):
    """Its worker may have been killed: nobody removes its file before the next launch."""
    for minutes, silent in ((1, False), (2, True)):
        left(made, at=(datetime.now(UTC) - timedelta(minutes=minutes)).isoformat())
        [found] = live(made)
        assert found.silent == silent
        assert ("silent for 2 min" in running.section([found])) == silent


@pytest.mark.parametrize(
    "changes",
    [
        {"trial_id": "other"},
        {"config": "[]"},
        {"config": 7},
        {"config": json.dumps({"dataset": "a", "model": "b", "criterion": "c", "iterations": "<b>"})},
        {"config": json.dumps({"dataset": "a", "model": "b", "criterion": "c", "scope": 5})},
        {"at": "now"},
        {"at": "2026-01-01"},
        {"done": 0},
        {"done": "1"},
        {"epochs": math.inf},
        {"seconds": None},
        {"headline": ["accuracy"]},
        {"headline": "x" * 1000},
        {"curves": 7},
        {"curves": [[1]]},
        {"curves": [["dense", 1.0, "<script>"]]},
        {"curves": [["dense", 1.0, math.nan]]},
    ],
)
def test_a_file_of_other_content_is_left_out(made, changes):
    left(made, **changes)
    left(made, "a" * 16)
    assert [each.trial_id for each in live(made)] == ["a" * 16]


@pytest.mark.slow
def test_text_of_others_is_text_in_the_page_and_running_trials_are_in_no_other_number(made):
    before = report.render(analysis.open(made), made)
    evil = "<img src=x onerror=alert(1)>"
    config = {"dataset": evil, "model": evil, "criterion": evil, "scope": evil, "seed": evil, "epochs": evil}
    left(made, headline="<b onload=x>", config=json.dumps(config))
    [found] = live(made)
    assert "<img" not in (page := running.section([found])) and "<b " not in page and "&lt;img" in page
    after = report.render(analysis.open(made), made)

    def without_the_nonce(text):
        return text[text.index("<body>") : text.index("<script nonce")]

    assert without_the_nonce(after) == without_the_nonce(before)


@pytest.mark.slow
def test_the_watched_page_shows_them_also_before_the_first_result(tmp_path):
    folder = tmp_path / "results" / "made"
    left(folder)
    serving = watch.server(folder, lambda: report.render(analysis.open(folder), folder), study="made")
    threading.Thread(target=serving.serve_forever, daemon=True).start()

    def get(path):
        at = f"http://127.0.0.1:{serving.server_address[1]}/{path}"
        with urllib.request.urlopen(at) as answer:
            return answer.read().decode()

    assert ID in get("running") and ID in get("")
    left(folder, done=11.0)
    assert "11 of 40" in get(""), "without a change of the results"
    (folder / "running" / f"{ID}.json").unlink()
    assert ID not in get("") and get("running") == ""
    serving.shutdown(), serving.server_close()

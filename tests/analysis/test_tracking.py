"""`analysis export` to a tracker, after the fact."""

from functools import partial

import pytest

from analysis import marking, tracking
from analysis.__main__ import main
from sweep.store import launches, results
from tests import commands

pytestmark = pytest.mark.slow
run = partial(commands.run, main)


def events(folder):
    return sorted(folder.glob("log/*/*/events.out.tfevents.*"))


def test_every_trial_is_there_once_with_its_curves_and_the_tags_of_people(made, add, monkeypatch):
    monkeypatch.setattr(tracking, "_AT_A_TIME", 10)
    launches.note_launch(made, "made", "", {}, {"tags": ["thesis"]})
    curves = [{"trial_id": "snip-global-0.9-0", "phase": "retrain", "epoch": 1.0, "val_accuracy": 0.5}]
    results.write_part(made, "curves", results.pa.Table.from_pylist(curves, schema=results.SCHEMAS["curves"]))
    first = run("export", "tensorboard", "--results", made)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == "export: 45 trials in tensorboard: 45 new or changed, 0 there already\n"
    assert len(events(made)) == 45 and all(b"thesis" in event.read_bytes() for event in events(made))
    [with_curve] = (event for event in events(made) if b"curve/val_accuracy" in event.read_bytes())
    assert with_curve.parent.name.endswith("seed_0_snip-global-0.9-0")

    marking.put(str(made), "paper", "criterion = 'snip'")
    again = run("export", "tensorboard", "--results", made)
    assert again.stdout == "export: 45 trials in tensorboard: 15 new or changed, 30 there already\n"
    assert len(events(made)) == 45
    assert sum(b"paper" in event.read_bytes() for event in events(made)) == 15


def test_only_some_trials_go_to_another_folder(made, tmp_path):
    some = run(
        "export", "tensorboard", "--results", made.parent, "--where", "seed = 0", "--to", tmp_path / "to"
    )
    assert some.stdout == "export: 15 trials in tensorboard: 15 new or changed, 0 there already\n"
    assert not (made / "log").exists() and len([*(tmp_path / "to" / "made").glob("*/*/events*")]) == 15


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("x.csv", "--to", "here"),
            "--to here: it is for tensorboard, wandb, mlflow; a file goes where its name",
        ),
        (("mlflow", "--metric", "ece"), "mlflow: a run has every metric: leave --metric out"),
        (("mlflow", "--where", "seed = 99"), "no trials to export"),
        (("mlflow", "--to", "http://127.0.0.1:9"), "0 of 45 trials are there; export again"),
        (("tensorboard", "--to", "/proc/nowhere"), "0 of 45 trials are there; export again"),
    ],
)
def test_what_cannot_be_exported_is_one_line(words, message, made, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    refused = run("export", *words, "--results", made)
    assert refused.returncode == 2 and message in refused.stderr and refused.stderr.count("\n") == 1

"""Weights & Biases without a network: what `wandb sync` would send."""

import json
import subprocess
import sys
from contextlib import closing

import pytest

from sweep.trackers import Run, Service
from tests.sweep.trackers.made import HOSTILE, rows

pytestmark = pytest.mark.slow


def records(file):
    """The records of a file of W&B, which has blocks as LevelDB's logs have them; here one is enough."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place = file.read_bytes(), 7
    while place + 7 < min(len(content), 2**15):
        length = int.from_bytes(content[place + 4 : place + 6], "little")
        yield Record.FromString(content[place + 7 : place + 7 + length])
        place += 7 + length


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")


def log(folder, *runs):
    """Whether each run was not there; all files are written."""
    with closing(Service.WANDB.tracker(folder, str(folder))) as tracker:
        return [tracker.log(run) for run in runs]


def test_a_trial_is_a_run_with_its_config_its_curves_and_its_group(tmp_path, capfd):
    run = Run.of(*rows("a"), ["paper"])
    assert log(tmp_path, run) == [True]
    [file] = tmp_path.glob("wandb/offline-run-*-made-a/run-made-a.wandb")
    kinds = {}
    for record in records(file):
        kinds.setdefault(record.WhichOneof("record_type"), []).append(record)
    head = kinds["run"][0].run
    assert (head.project, head.run_id, head.run_group, head.job_type) == (
        "made",
        "made-a",
        run.group,
        "sparsity 0.9",
    )
    assert [*head.tags] == ["paper"]
    config = {item.key: json.loads(item.value_json) for item in head.config.update}
    assert config.items() >= run.params.items()
    steps = [
        {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in r.history.item}
        for r in kinds["history"]
    ]
    assert [step["curve/val_accuracy"] for step in steps] == [0.1, 0.2]
    summary = {
        i.key or "/".join(i.nested_key): i.value_json for r in kinds["summary"] for i in r.summary.update
    }
    assert summary["test_accuracy"] == "0.5"
    assert capfd.readouterr() == ("", "")


def test_a_trial_that_is_there_stays_and_a_later_run_is_logged(tmp_path):
    first, later = (Run.of(*rows("b", later=hours)) for hours in (0, 1))
    assert log(tmp_path, first, first) == [True, False]
    assert log(tmp_path, first, later) == [False, True]


def test_names_of_others_are_text(tmp_path):
    config = {"criterion": HOSTILE, HOSTILE: HOSTILE}
    hostile = Run.of(*rows(HOSTILE, study=HOSTILE, config=config), [HOSTILE])
    assert log(tmp_path / "to", hostile) == [True] and [*tmp_path.iterdir()] == [tmp_path / "to"]


def test_without_a_key_nothing_asks_for_one(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    code = "from pathlib import Path; from sweep.trackers.wandb import check; check(Path('r'), None)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert "BadInput: wandb: there is no key here: run wandb login, or set WANDB_MODE=offline" in done.stderr

"""The launch reads values from its command line, and says what has changed since the last launch."""

import io
import sys
from datetime import datetime

import pytest

from sweep.launch import main
from sweep.search.__main__ import main as search
from sweep.store import launches
from tests.commands import run
from tests.conftest import STUDY

STARTED = {"started_at": "2026-11-26T21:03:00+00:00"}


@pytest.fixture
def dry(study_file, tmp_path):
    """Calls a dry run of the small study, which has been launched with a text."""

    def dry(*words, launched=None, path=None):
        if launched:
            launches.note_launch(tmp_path / "r" / "small", "small", launched, STARTED)
        return run(main, path or study_file(), *words, "--dry-run", "--results", tmp_path / "r")

    return dry


def test_values_of_the_command_line_replace_those_of_the_study(dry):
    ended = dry("--set", "seed=0..2", "sparsity=0.5", "--set", "blocks=[{criterion: snip}]")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "small: 3 trials" in ended.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "epochs=x"], "--set epochs=x: epochs x: text, where a whole number belongs\n"),
        (["seed=1"], "seed=1: one study at a time; values of its fields follow --set\n"),
        (["--set"], "sweep.launch: Option '--set' requires an argument. (see --help)\n"),
    ],
)
def test_a_wrong_value_is_one_line_and_exit_code_2(words, said, study_file):
    ended = run(main, study_file(), *words)
    assert (ended.returncode, ended.stderr) == (2, said)


def test_a_search_takes_values_too(study_file):
    ended = run(search, study_file(), "--set", "sed=1")
    assert (ended.returncode, ended.stderr) == (
        2,
        "--set sed=1: unknown key 'sed' in a study; did you mean seed?\n",
    )


def test_a_study_comes_from_standard_input(dry, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(STUDY.encode())))
    ended = dry("--set", "seed=0", path="-")
    assert (ended.returncode, ended.stderr) == (0, "") and ended.stdout.startswith("small: ")


def test_what_has_changed_since_the_last_launch_is_said_in_one_line(dry):
    said = dry("--set", "lr=0.3", launched=STUDY).stdout
    when = f"{datetime.fromisoformat(STARTED['started_at']).astimezone():%Y-%m-%d %H:%M}"
    assert f"since the launch of {when}: lr 0.3 was 0.2\n" in said
    assert "since the launch" not in dry("--set", "description=other").stdout

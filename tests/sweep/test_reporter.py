"""What a command prints for people, for people in a hurry, and for programs."""

import json

import pytest

from sweep.check.__main__ import main as check
from sweep.errors import BadInput
from sweep.launch import main as launch
from sweep.reporter import Form, conclude, note, reported
from sweep.search.__main__ import main as search
from tests.commands import run


@pytest.fixture
def dry(study_file, tmp_path):
    """Calls a dry run of the small study."""
    return lambda *words: run(launch, study_file(), "--dry-run", "--results", tmp_path / "r", *words)


def test_a_program_gets_one_document_and_people_the_rest(dry):
    plain, told = dry(), dry("--format", "json")
    facts = json.loads(told.stdout)
    assert (told.returncode, told.stderr.splitlines()[0]) == (0, plain.stdout.splitlines()[0])
    assert facts["study"] == "small" and facts["trials"] == facts["to_run"] > 0 == facts["exit"]
    assert (facts["with_result"], facts["taken_over"]) == (0, {})
    estimate = facts["estimate"]
    assert 0 < estimate["seconds_at_least"] <= estimate["seconds"] <= estimate["worker_seconds"] < 3600
    assert 0 < estimate["steps"] <= estimate["steps_alone"] and estimate["price"] is None


def test_a_quiet_command_says_the_end_alone(dry):
    said = dry("-q")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.startswith("about ") and said.stdout.count("\n") == 1
    told = dry("-q", "--format", "json")
    assert json.loads(told.stdout)["exit"] == 0 and told.stderr.count("\n") == 1


@pytest.mark.parametrize("main", [launch, search, check])
def test_bad_input_is_in_the_document_too(main, tmp_path):
    ended = run(main, f"{tmp_path / 'none.py'}:mine", "--format", "json")
    facts = json.loads(ended.stdout)
    assert ended.returncode == facts["exit"] == 2
    assert ended.stderr == f"{facts['error']}\n"


def test_numbers_that_json_does_not_have_are_null_and_a_crash_has_no_document(capsys):
    def work(console):
        note(console, loss=float("nan"), seeds=(1, float("inf")))
        conclude(console, "end")
        return 1

    assert reported(Form.JSON, True, work) == 1
    out, err = capsys.readouterr()
    assert json.loads(out) == {"loss": None, "seeds": [1, None], "exit": 1} and err == "end\n"

    def crash(console):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        reported(Form.JSON, False, crash)
    assert capsys.readouterr().out == ""


def test_an_interrupt_is_in_the_document(capsys):
    def work(console):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reported(Form.JSON, False, work)
    assert json.loads(capsys.readouterr().out)["exit"] == 130


def test_a_console_that_keeps_no_facts_prints_as_before(capsys):
    from rich.console import Console

    note(Console(), trials=3)
    conclude(Console(), "results: here")
    assert capsys.readouterr().out == "results: here\n"


def test_text_is_the_default(capsys):
    def fail(console):
        note(console, trials=3)
        raise BadInput("no")

    with pytest.raises(BadInput):
        reported(Form.TEXT, False, fail)
    assert capsys.readouterr().out == ""

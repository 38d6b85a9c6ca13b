"""docs/first-study.md: its commands run, one after another, and print what the page says."""

import contextlib
from functools import partial
from importlib import import_module
from pathlib import Path
from unittest import mock

import pytest

from pages.walk import alike, shortened, walk
from sweep.engine.options import Options
from sweep.shell.commands import COMMANDS
from tests.commands import run

PAGE = Path(__file__).parents[2] / "docs" / "first-study.md"


def here(words):
    """A command in this process. Its trials run here too: that they are the same on Ray, other tests hold."""
    program, name, *rest = words
    done = run(import_module(COMMANDS[name].module).main, *rest)
    assert (program, done.returncode) == ("secateur", 0), done.stderr
    return done.stdout


@pytest.mark.long
@pytest.mark.slow
def test_the_commands_of_the_page_print_what_it_says(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    alone = partial(Options, in_process=True)
    with contextlib.chdir(tmp_path), mock.patch("sweep.launch.Options", alone):
        told = list(walk(PAGE.read_text("utf-8"), tmp_path, here))
    assert len(told) >= 10
    for command, expected, printed in told:
        assert alike(expected, printed), (
            f"{command}\n{printed}\nrun: python -m pages.walk docs/first-study.md"
        )
    assert (tmp_path / "results" / "second" / "report.html").exists()


def test_of_the_lines_of_progress_the_last_stays():
    printed = "a: 2 trials\na: 1 of 2 trials, 1 s so far\na: 2 of 2 trials, 2 s so far \n\nend\n"
    assert shortened(printed) == "a: 2 trials\na: 2 of 2 trials, 2 s so far\n\nend\n"


def test_outputs_differ_in_words_and_counts_and_not_in_what_is_measured():
    assert alike(
        "8 trials, 0.31 trials/s, 1 min 20 s: a 0.9, b 0.8\n", "8 trials, 2.50 trials/s, 9 s: b 0.81, a 0.7\n"
    )
    assert not alike("8 trials", "9 trials")
    assert not alike("certainly above at 0.9", "certainly below at 0.9")
    assert alike("since 2026-11-27 17:04: x", "since 2027-01-01 10:00: x")


def test_a_page_is_followed_in_its_order(tmp_path):
    page = "```yaml\n# a.yaml\nx: 1\n```\n\n```console\n$ one a.yaml\nold\n$ two 'b c'\n```\n"
    followed = list(walk(page, tmp_path, lambda words: f"{words} {(tmp_path / 'a.yaml').exists()}"))
    assert followed == [
        ("one a.yaml", "old\n", "['one', 'a.yaml'] True\n"),
        ("two 'b c'", "", "['two', 'b c'] True\n"),
    ]

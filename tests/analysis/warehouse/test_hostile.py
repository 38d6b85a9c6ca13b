"""A hostile results folder through every command: nothing is executed, loaded, overwritten or followed."""

import faulthandler
import subprocess
import sys
from contextlib import contextmanager

import pytest

from analysis.__main__ import main as analysis
from sweep.launch import main as launch
from tests import commands
from tests.analysis import hostile

pytestmark = pytest.mark.slow
STUDY = "name: mine\ndataset: digits\nmodel: conv-5\nepochs: 1\ncriterion: snip\nsparsity: 0.9\n"
QUESTIONS = (
    *("crossover", "correlation", "best", "collapse", "accuracy", "cost", "layers", "regimes", "aggregate"),
    *("better", "seeds", "variance", "asked"),
)
COMMANDS = (
    *([question] for question in QUESTIONS),
    ["effect", "criterion"],
    *(["sql", "FROM trials ORDER BY trial_id", "--format", form] for form in ("table", "csv", "json")),
    ["sql", "FROM curves"],
    ["views"],
    ["aggregate", "--profiles"],
    ["report"],
    *(["export", name] for name in ("x.csv", "x.parquet", "x.tex")),
)
# The folder of one study is read by other names of parts, and has a study.json of its own.
OF_ONE_STUDY = (["crossover"], ["layers"], ["sql", "FROM curves"], ["report"], ["export", "x.tex"])


@pytest.fixture
def victim(tmp_path):
    file = tmp_path / "victim"
    file.write_text("untouched")
    return file


@contextmanager
def ending():
    """Stop this process if the commands in it do not end: one that hangs in a pipe fails the test."""
    faulthandler.dump_traceback_later(300, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def run_alone(words, folder):
    """Run a module's command line as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        stdin=subprocess.DEVNULL,
    )


def safe(answer, is_data):
    """Check how a command ended, and that its text controls no terminal."""
    assert "Traceback" not in answer.stderr and answer.returncode in (0, 2), answer.stderr[-2000:]
    assert answer.returncode == 0 or answer.stderr.splitlines()[-1].strip()
    assert not {"\x1b", "\x07", "\x00"} & set(answer.stderr)
    assert is_data or not {"\x1b", "\x07", "\x00"} & set(answer.stdout)


@pytest.mark.long
def test_every_command_answers_and_harms_nothing(tmp_path, victim, monkeypatch):
    folder = tmp_path / "results"
    made = hostile.build(folder, victim)
    (tmp_path / "study.yaml").write_text(STUDY)
    dry = [str(tmp_path / "study.yaml"), "--dry-run"]
    asked = [
        *((analysis, [*words, "--results", str(folder)]) for words in COMMANDS),
        *((analysis, [*words, "--results", str(made)]) for words in OF_ONE_STUDY),
        (launch, [*dry, "--results", str(folder)]),
    ]
    # Most commands run in this process, which is faster; a few run as a user runs them.
    alone = [
        ("sweep.launch", [*dry, "--results", str(made)]),
        ("analysis", ["report", "--results", str(folder)]),
    ]
    answered = 0
    for number, (command, words) in enumerate([*asked, *alone]):
        desk = tmp_path / f"desk{number}"
        desk.mkdir()
        # Links lie in wait at the names of the files that commands write.
        for name in ("x.csv", ".x.csv.new", "x.tex", ".x.tex.new"):
            (desk / name).symlink_to(victim)
        monkeypatch.chdir(desk)
        with ending():
            is_module = isinstance(command, str)
            answer = run_alone([command, *words], desk) if is_module else commands.run(command, *words)
        safe(answer, is_data=bool({"csv", "json"} & set(words)))
        answered += answer.returncode == 0
    assert answered > (len(asked) + len(alone)) / 2, "it is not all refused"
    assert victim.read_text() == "untouched"


def test_what_goes_into_latex_is_text(tmp_path, victim):
    made = hostile.build(tmp_path / "results", victim)
    assert commands.run(analysis, "export", tmp_path / "t.tex", "--results", made).returncode == 0
    table = (tmp_path / "t.tex").read_text()
    assert "\\input" not in table and "\\write" not in table
    assert all(line.startswith("%") or "% setting" not in line for line in table.splitlines())

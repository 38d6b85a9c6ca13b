"""A shell completes commands, options, studies, fields and the names that they take."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from sweep.config import FIELDS
from sweep.shell import notes

# A process is started for each: Bash itself, and the command that it asks.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """An environment in which the notes are made, with a folder that has a study, and the function of Bash."""
    folder = tmp_path_factory.mktemp("shell")
    (folder / "mine.yaml").touch()
    (folder / "secateur").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m sweep.shell "$@"\n')
    (folder / "secateur").chmod(0o755)
    paths = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *filter(None, sys.path)]),
    }
    environment = os.environ | paths | {"XDG_CACHE_HOME": str(folder / "cache")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", environment["XDG_CACHE_HOME"])
        notes.read()
    # From another shell than the one that is named, as where make runs the tests.
    done = subprocess.run(
        ["sh", "-c", "secateur --show-completion bash; exit $?"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder, environment, done.stdout


def completed(shell, line):
    """The words that Bash offers for a line, whose words it cuts as it does."""
    folder, environment, script = shell
    # Bash gives its function words that are cut at = and :.
    words = shlex.split(line.replace("=", " = ").replace(":", " : ")) + ([""] if line.endswith(" ") else [])
    code = (
        f"{script}\nCOMP_WORDS=({shlex.join(words)})\nCOMP_CWORD={len(words) - 1}\n"
        f'_secateur_completion secateur\nprintf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(
        ["bash", "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("secateur la", ["launch"]),
        ("secateur analysis cr", ["crossover"]),
        ("secateur launch quick", ["quickstart"]),
        ("secateur launch min", ["mine.yaml"]),
        ("secateur launch --work", ["--workers"]),
        ("secateur launch --log ", ["tensorboard", "wandb", "mlflow"]),
        ("secateur launch quickstart --set label", ["label_smoothing=", "label_smoothing=0"]),
        ("secateur launch quickstart --set scope=un", ["uniform", "uniform-plus"]),
        ("secateur launch quickstart --set seed=0 optim", ["optimizer=", "optimizer=sgd", "optimizer=adam", "optimizer=adamw"]),
        ("secateur analysis crossover syn", ["synflow", "synflow-l2"]),
        ("secateur analysis crossover snip random:er", ["er", "erk"]),
        ("secateur analysis best --metric ec", ["ece"]),
        ("secateur analysis regimes --x weight_d", ["weight_decay"]),
    ],
)  # fmt: skip
def test_bash_completes(shell, line, words):
    assert completed(shell, line) == words


def test_bash_knows_every_field(shell):
    offered = completed(shell, "secateur launch quickstart --set ")
    assert {f"{name}=" for name in FIELDS} <= set(offered)


def test_an_answer_needs_neither_torch_nor_ray(shell):
    """They take seconds. The limit is far above what it takes on an idle machine."""
    folder, environment, _ = shell
    words = {"COMP_WORDS": "secateur launch qui", "COMP_CWORD": "2", "_SECATEUR_COMPLETE": "complete_bash"}
    code = (
        "import sys\nfrom sweep.shell.__main__ import main\ntry:\n    main()\nexcept SystemExit:\n"
        "    assert not {'torch', 'ray', 'duckdb'} & sys.modules.keys()\nelse:\n    raise AssertionError"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment | words,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "quickstart\n"


def test_notes_are_made_anew_when_the_code_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    notes.read()
    [file] = tmp_path.rglob("*.json")
    written = file.stat().st_mtime_ns
    notes.read()
    assert file.stat().st_mtime_ns == written
    monkeypatch.setattr(notes, "_state", lambda: "another")
    assert notes.read()["state"] == "another" and file.stat().st_mtime_ns != written


def test_damaged_notes_are_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    noted = notes.read()
    [file] = tmp_path.rglob("*.json")
    file.write_text("{")
    assert notes.read() == noted

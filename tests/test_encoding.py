"""Text is UTF-8 wherever it comes from and goes to, whatever the locale of whoever runs it."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sweep
from tests.conftest import STUDY

ROOT = Path(sweep.__file__).parents[1]
SOURCES = [
    file for package in ("sweep", "analysis", "pruners") for file in sorted((ROOT / package).rglob("*.py"))
]
# Where the encoding stands in calls that read or write text.
PLACE = {"read_text": 0, "write_text": 1}


def in_the_locales_encoding(call):
    """Whether a call reads or writes text and leaves it to the locale how."""
    name = getattr(call.func, "attr", getattr(call.func, "id", None))
    given = {keyword.arg for keyword in call.keywords}
    if "encoding" in given:
        return False
    if name == "open":  # of a path, or the builtin, with a mode that is not binary
        modes = [getattr(word, "value", "b") for word in call.args[isinstance(call.func, ast.Name) :][:1]]
        return modes == [] or "b" not in str(modes[0])
    if name in ("run", "Popen", "check_output"):  # a program's answer
        return bool({"text", "universal_newlines"} & given)
    return len(call.args) <= PLACE.get(name, -1)


@pytest.mark.slow
def test_no_text_is_read_or_written_in_the_encoding_of_the_locale():
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in SOURCES
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.Call) and in_the_locales_encoding(node)
    ]
    assert len(SOURCES) > 100 and found == []


LEGACY = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.slow
def test_studies_folders_arguments_and_answers_are_utf8_in_a_legacy_locale(tmp_path):
    study = tmp_path / "étude.yaml"
    study.write_text("# café\n" + STUDY.replace("small", "étude"), encoding="utf-8")
    (tmp_path / "é" / "étude").mkdir(parents=True)

    def ran(*words):
        command = [sys.executable, "-m", *map(os.fsencode, words), "--results", os.fsencode(tmp_path / "é")]
        done = subprocess.run(command, capture_output=True, env=os.environ | LEGACY, cwd=ROOT, check=False)
        assert done.returncode == 0 and not done.stderr, done.stderr
        return done.stdout.decode()

    assert ran("sweep.launch", str(study), "--dry-run").startswith("étude: ")
    assert "é±磁" in ran("analysis", "sql", "SELECT 'é' || '±磁' AS said", "--format", "csv")

import json
import subprocess
import sys
from pathlib import Path

import pytest

import pruners
from pruners.__main__ import main, markdown
from tests.commands import run


def test_the_documented_table_is_the_table_of_criteria():
    text = Path("docs/criteria.md").read_text("utf-8")
    assert text == markdown(text), "run: python -m pruners docs/criteria.md"


@pytest.mark.slow
def test_the_command_explains_itself():
    done = subprocess.run(
        [sys.executable, "-m", "pruners", "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "Usage: python -m pruners" in done.stdout and not done.stderr


def test_the_command_writes_the_table_into_a_file_and_prints_it_without_one(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("before\n<!-- criteria -->\nold\n<!-- end of criteria -->\nafter: é\n", "utf-8")
    assert run(main, path).returncode == 0
    written = path.read_text("utf-8")
    assert all(f"| `{name}` |" in written for name in pruners.names())
    assert written.startswith("before\n") and written.endswith("after: é\n") and "old" not in written
    assert "snip" in run(main).stdout
    assert run(main, "--quiet").stdout.split() == list(pruners.names())
    assert [each["name"] for each in json.loads(run(main, "--format", "json").stdout)] == list(
        pruners.names()
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        (b"no markers", "it needs the lines <!-- criteria --> and <!-- end of criteria -->, each once"),
        (b"\xff", "codec can't decode"),
    ],
)
def test_a_file_without_the_markers_is_one_line_and_left_alone(content, message, tmp_path):
    path = tmp_path / "page.md"
    if content is not None:
        path.write_bytes(content)
    ended = run(main, path)
    assert ended.returncode == 2 and message in ended.stderr and ended.stderr.count("\n") == 1
    assert content is None or path.read_bytes() == content

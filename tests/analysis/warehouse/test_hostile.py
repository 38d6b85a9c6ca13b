"""A hostile results folder through every command: nothing is executed, loaded, overwritten or followed."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.analysis import hostile

pytestmark = pytest.mark.slow
STUDY = "name: mine\ndataset: digits\nmodel: conv-5\nepochs: 1\ncriterion: snip\nsparsity: 0.9\n"
QUESTIONS = (
    *("crossover", "correlation", "best", "collapse", "accuracy", "cost", "layers", "regimes", "aggregate"),
    *("better", "seeds", "variance"),
)
COMMANDS = (
    *([question] for question in QUESTIONS),
    *(["sql", "FROM trials ORDER BY trial_id", "--format", form] for form in ("table", "csv", "json")),
    ["sql", "FROM curves"],
    ["views"],
    ["aggregate", "--profiles"],
    ["report"],
    *(["export", name] for name in ("x.csv", "x.parquet", "x.tex")),
)


@pytest.fixture
def victim(tmp_path):
    file = tmp_path / "victim"
    file.write_text("untouched")
    return file


def run(words, folder):
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, capture_output=True, timeout=300, stdin=subprocess.DEVNULL
    )


def test_every_command_answers_and_harms_nothing(tmp_path, victim):
    folder = tmp_path / "results"
    made = hostile.build(folder, victim)
    (tmp_path / "study.yaml").write_text(STUDY)
    asked = [["analysis", *words, "--results", str(place)] for words in COMMANDS for place in (folder, made)]
    asked += [
        ["sweep.launch", str(tmp_path / "study.yaml"), "--results", str(place), "--dry-run"]
        for place in (folder, made)
    ]
    desks = [tmp_path / f"desk{number}" for number in range(len(asked))]
    for desk in desks:
        desk.mkdir()
        # Where files are written to, links lie in wait too.
        for name in ("x.csv", ".x.csv.new", "x.tex", ".x.tex.new"):
            (desk / name).symlink_to(victim)
    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(run, asked, desks))
    for words, found in zip(asked, ends, strict=True):
        err = found.stderr.decode()
        assert b"Traceback" not in found.stderr and found.returncode in (0, 2), (words, err[-2000:])
        assert found.returncode == 0 or err.splitlines()[-1].strip(), words
        data = {"csv", "json"} & set(words)
        for text in (found.stderr, b"" if data else found.stdout):
            assert not {b"\x1b", b"\x07", b"\x00"} & {bytes([byte]) for byte in text}, words
    answered = [words[1] for words, found in zip(asked, ends, strict=True) if found.returncode == 0]
    assert len(answered) > len(asked) / 2, "it is not all refused"
    assert victim.read_text() == "untouched"


def test_what_goes_into_latex_is_text(tmp_path, victim):
    made = hostile.build(tmp_path / "results", victim)
    assert run(["analysis", "export", "t.tex", "--results", str(made)], tmp_path).returncode == 0
    table = (tmp_path / "t.tex").read_text()
    assert "\\input" not in table and "\\write" not in table
    assert all(line.startswith("%") or "% setting" not in line for line in table.splitlines())

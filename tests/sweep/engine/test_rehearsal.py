"""A part that fails is found before the launch, in a process of its own."""

import pytest

from sweep.engine.rehearsal import rehearse
from sweep.errors import BadInput
from sweep.study import load

PARTS = """\
import os


def right(probe):
    return {name: weight.abs() for name, weight in probe.weights.items()}


def dies(probe):
    os._exit(3)


def hangs(probe):
    while True:
        try:
            sum(range(1000))
        except Exception:
            pass
"""
STUDY = "dataset: digits\nmodel: conv-5\nepochs: 1\nsparsity: 0.9\n"


@pytest.fixture
def rehearsed(tmp_path):
    (tmp_path / "scores.py").write_text(PARTS)

    def of(lines, seconds=float("inf")):
        (tmp_path / "study.yaml").write_text(STUDY + lines)
        study = load(tmp_path / "study.yaml")
        rehearse(study, study.trials(), "data", seconds)

    return of


@pytest.mark.slow
def test_what_works_passes_and_a_study_without_parts_starts_no_process(rehearsed):
    rehearsed("criterion: [scores.py:right, snip]\n")
    rehearsed("criterion: snip\n", seconds=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lines", "seconds", "why"),
    [
        ("criterion: scores.py:dies\n", 99, r"scores\.py:8: dies: .* ended with exit code 3"),
        ("criterion: scores.py:hangs\n", 1, r"scores\.py:\d+: hangs: runs longer than 1 seconds"),
    ],
)
def test_what_fails_is_one_line_of_the_parts_own_file(rehearsed, lines, seconds, why):
    with pytest.raises(BadInput, match=why) as error:
        rehearsed(lines, seconds)
    assert len(str(error.value).splitlines()) == 1


def test_a_part_whose_code_is_not_here_is_not_launched(tmp_path):
    (tmp_path / "scores.py").write_text(PARTS)
    (tmp_path / "study.yaml").write_text(STUDY + "criterion: scores.py:right\n")
    study = load(tmp_path / "study.yaml")
    (tmp_path / "scores.py").unlink()
    again = load(study.path, lambda name: [part_without_code(part) for part in study.parts.values()])
    with pytest.raises(BadInput, match="its code is not here"):
        rehearse(again, again.trials(), "data", 99)


def part_without_code(part):
    from sweep.parts import record, recorded

    return recorded(record(part))

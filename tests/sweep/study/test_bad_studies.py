"""Study files with random mistakes, given to the command."""

import contextlib
import io
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweep.launch import main
from tests.conftest import STUDY

WHOLE = STUDY + "price_per_gpu_hour: 2\nlr_schedule: step\nlr_drops: 0.5 0.75\n"
HOSTILE = (
    "",
    "null",
    "~",
    "true",
    "-1",
    "0",
    "1e309",
    ".nan",
    "-.inf",
    "[]",
    "{}",
    "[[1]]",
    "{a: b}",
    "*a",
    "&a [*a]",
    "!!python/object/apply:os.system [ls]",
    "!!binary x",
    "0x10",
    "\t",
    "é",
    "\x00",
    "'",
    '"',
    "|",
    "? :",
    "---",
    "9" * 400,
    "0..9999999",
    "5..1",
    "snip, snip",
    "1:30:20",
    "2001-01-01",
    "%",
    "@",
    "imp",
    "oracle",
    "gmp",
)
PIECES = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=8))


@st.composite
def mutated(draw):
    text = WHOLE
    for _ in range(draw(st.integers(1, 4))):
        lines = text.split("\n")
        place = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(("drop", "twice", "value", "key", "insert", "cut", "indent"))):
            case "drop":
                del lines[place]
            case "twice":
                lines.insert(place, lines[place])
            case "value":
                lines[place] = lines[place].partition(":")[0] + ": " + draw(PIECES)
            case "key":
                lines[place] = draw(PIECES) + ":" + lines[place].partition(":")[2]
            case "insert":
                at = draw(st.integers(0, len(lines[place])))
                lines[place] = lines[place][:at] + draw(PIECES) + lines[place][at:]
            case "cut":
                lines[place] = lines[place][: draw(st.integers(0, len(lines[place])))]
            case "indent":
                lines[place] = " " * draw(st.integers(0, 5)) + lines[place].lstrip()
        text = "\n".join(lines)
    return text


@pytest.mark.slow
@given(mutated())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_mistyped_study_is_one_line_and_nothing_is_written(text):
    out, err = io.StringIO(), io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        path.write_bytes(text.encode(errors="surrogateescape"))
        argv, sys.argv = sys.argv, ["launch", str(path), "--dry-run", "--results", f"{folder}/results"]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main()
        except SystemExit as end:
            code = end.code or 0
        finally:
            sys.argv = argv
        assert [each.name for each in Path(folder).iterdir()] == ["study.yaml"]
    if code:
        assert code == 2 and err.getvalue().count("\n") == 1 and not out.getvalue()
    else:
        assert not err.getvalue() and "trials" in out.getvalue(), "the mistakes left a valid study"

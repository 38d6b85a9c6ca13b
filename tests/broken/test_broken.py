"""Each broken part gives one line that names its file and line, and says what is expected."""

import pytest
import yaml

from sweep.engine import malloc, runner, worker
from sweep.errors import BadInput
from sweep.study import load
from sweep.trial.rehearsal import rehearse
from tests.broken.parts import CASES, FINE, READ, REHEARSED, RUN

BASE = {"name": "s", "dataset": "digits", "model": "lenet-300-100", "steps": 4, "batch_size": 8}
BASE |= {"sparsity": 0.9, "criterion": "magnitude"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("broken")


def written(broken, folder):
    """The study of a broken part, and the place that its message begins with."""
    path = folder / broken.file
    text = broken.source
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    reference = broken.reference or f"{broken.file}:mine"
    fields = BASE | {broken.field: [reference] if broken.field == "metrics" else reference}
    fields |= yaml.safe_load("\n".join(broken.more)) or {}
    study = folder / "s.yaml"
    study.write_text(yaml.safe_dump(fields, allow_unicode=True))
    marked = [n for n, line in enumerate(str(text).splitlines(), 1) if line.endswith("# HERE")]
    return study, f"{path}:{marked[0]}" if marked else str(path)


def first_line(broken, study):
    """At which stage the part is refused, and what is said."""
    try:
        read = load(study)
    except BadInput as error:
        return READ, str(error)
    trial = read.trials()[0]
    fault = rehearse(trial, tuple(read.parts.values()), "data", read.metrics)
    if fault:
        return REHEARSED, fault
    result = at_work([trial], read).next()
    return (FINE, "") if result.trial["status"] == "ok" else (RUN, result.trial.get("error") or "diverged")


def at_work(trials, study):
    """A worker that has the trials of a study to do."""
    made = worker.Worker.__new__(worker.Worker)
    where = runner.Where("data", "/nowhere", parts=tuple(study.parts.values()), metrics=study.metrics)
    jobs = [(trial.canonical, (), (), False) for trial in trials]
    made.setup({"pack": 0, "jobs": jobs, "brief": False}, runner.run_trial, where)
    return made


def assert_own_trace(said, place):
    """The error of a failed row is one line about the part, or a traceback that begins in its file."""
    path, _, number = place.rpartition(":")
    lines = said.splitlines()
    if lines[0].startswith("Traceback"):
        assert lines[1].startswith(f'  File "{path}"'), said
        assert f'File "{path}", line {number}' in said, said
    else:
        assert len(lines) == 1 and said.startswith(f"{place}: mine: "), said


@pytest.mark.parametrize("broken", CASES, ids=lambda broken: broken.name)
def test_a_broken_part_is_one_clear_line(broken, folder, monkeypatch):
    monkeypatch.setattr(malloc, "keep", lambda: None)  # of this process
    study, place = written(broken, folder)
    stage, said = first_line(broken, study)
    assert stage == broken.stage, said
    assert all(word in said for word in broken.words), said
    if stage == READ:  # a line of the study, where the study is wrong
        assert place in said or said.startswith(f"{study}:"), said
    if stage == REHEARSED:
        assert said.startswith(f"{place}: mine: ") and len(said.splitlines()) == 1, said
    if stage == RUN:
        assert_own_trace(said, place)

"""Studies that share trials: the second launch runs the rest only, and nobody can tell by its answers."""

import json
import re

import pytest

import analysis
from analysis.__main__ import main as ask
from sweep.store.kept import Keep, file
from sweep.store.places import place
from sweep.study import load
from tests import commands
from tests.integration.launching import end, launch, rows, running, undisturbed, wait_for

pytestmark = pytest.mark.slow
FIRST = """\
name: first
dataset: digits
model: conv-5
epochs: 2
lr: 0.2
criterion: [random, snip]
scope: [global, erk]
sparsity: [0.9, 0.99]
seed: [0, 1]
keep: weights
"""
SECOND = FIRST.replace("first", "second").replace("seed: [0, 1]", "seed: [1, 2]").replace("0.99", "0.8")
# Of the second study, and of both.
TRIALS, SHARED = 16, 4


@pytest.fixture
def studies(study_file):
    paths = study_file(FIRST, "first.yaml"), study_file(SECOND, "second.yaml")
    first, second = ({trial.id for trial in load(path).trials()} for path in paths)
    assert len(second) == TRIALS and len(first & second) == SHARED
    return paths


def answers(results):
    """What people read of the second study: all answers in which no seconds are."""
    words = (
        ("crossover", "snip", "random"),
        ("collapse",),
        ("correlation",),
        ("regimes",),
        ("aggregate",),
        ("better", "snip", "random"),
        ("seeds", "snip", "random"),
        ("sql", "SELECT arm, sparsity, seed, test_accuracy, kept FROM trials ORDER BY ALL"),
        ("sql", "SELECT * EXCLUDE seconds FROM curves ORDER BY ALL"),
        ("sql", "FROM layers ORDER BY ALL"),
    )
    given = [commands.run(ask, *each, "--results", results, "--study", "second") for each in words]
    assert {each.returncode for each in given} == {0}
    return [each.stdout for each in given]


def ran(out):
    return int(re.search(r"(\d+) to run", out)[1])


def test_the_second_of_two_studies_runs_the_rest_and_its_analyses_are_those_without_reuse(studies, tmp_path):
    first, second = studies
    alone, both = tmp_path / "alone", tmp_path / "both"
    assert end(launch(second, "--results", alone))[0] == 0
    assert end(launch(first, "--results", both))[0] == 0
    code, out, err = end(launch(second, "--results", both))
    assert (code, err) == (0, "")
    assert f"0 with a result, {SHARED} taken over from first ({both / 'first'}), {TRIALS - SHARED} to" in out
    assert rows(both / "second") == undisturbed(second) == rows(alone / "second")
    assert rows(both / "first") == undisturbed(first)
    assert answers(both) == answers(alone)
    counts = "SELECT count(*), count(source), count(DISTINCT launch) FROM trials"
    assert analysis.open(both / "second").execute(counts).fetchall() == [(TRIALS, SHARED, 2)]
    assert analysis.open(both).execute(counts).fetchall() == [(2 * 16 - SHARED, 0, 2)]


def test_a_library_in_a_bucket_is_read_and_stays_as_it_is(studies, tmp_path, bucket):
    first, second = studies
    library, results = f"{bucket}/lab", tmp_path / "results"
    assert end(launch(first, "--results", library))[0] == 0

    def objects():
        every = [place(library).glob("*/*"), place(library).glob("*/*/*")]
        return sorted((each.path, each.size) for some in every for each in some)

    before = objects()
    code, out, err = end(launch(second, "--results", results, "--known", library))
    assert (code, err) == (0, "") and objects() == before
    assert f"{SHARED} taken over from first ({library}/first), {TRIALS - SHARED} to run" in out
    assert rows(results / "second") == undisturbed(second)
    trials = {trial.id for trial in load(second).trials()}
    assert Keep.WEIGHTS.of(results / "second") == trials
    taken = trials & Keep.WEIGHTS.of(place(f"{library}/first"))
    assert len(taken) == SHARED
    for trial in taken:
        copies = (
            file(folder, trial).read_bytes() for folder in (results / "second", place(f"{library}/first"))
        )
        assert len(set(copies)) == 1
    say = commands.run(ask, "masks", "snip", "random", "--results", results, "--format", "json")
    overlaps = json.loads(say.stdout)
    assert {row["layer"] for row in overlaps} > {"all layers"} and {row["seeds"] for row in overlaps} == {2}
    assert all(0 <= row["jaccard"] <= 1 for row in overlaps)


def test_a_launch_that_is_killed_goes_on_with_what_was_taken_over(studies, tmp_path):
    first, second = studies
    results = tmp_path / "results"
    assert end(launch(first, "--results", results))[0] == 0
    with running(second, "--results", results, "--workers", 1) as process:
        wait_for(results / "second", SHARED + 1, process)
        process.kill()
    code, out, err = end(launch(second, "--results", results))
    assert (code, err) == (0, "") and "taken over" not in out and ran(out) < TRIALS - SHARED
    assert rows(results / "second") == undisturbed(second)

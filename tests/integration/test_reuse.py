"""Studies that share trials: the second launch runs the rest only, and nobody can tell by its answers."""

import json
import re
import shutil

import pyarrow.fs
import pytest

import analysis
from analysis.__main__ import main as ask
from sweep.store.kept import Keep, file
from sweep.store.places import place
from sweep.study import load
from tests import commands
from tests.integration.launching import end, here, launch, rows, running, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("on_cluster")]
FIRST = """\
name: first
dataset: digits
model: lenet-300-100
epochs: 1
lr: 0.1
criterion: [random, snip, magnitude]
sparsity: [0.8, 0.9, 0.98]
seed: 0..3
keep: weights
"""
SECOND = FIRST.replace("first", "second").replace("0..3", "1..4")
# Of the second study, and of both.
TRIALS, SHARED = 36, 27


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    paths = folder / "first.yaml", folder / "second.yaml"
    for path, text in zip(paths, (FIRST, SECOND), strict=True):
        path.write_text(text)
    first, second = ({trial.id for trial in load(path).trials()} for path in paths)
    assert len(first) == len(second) == TRIALS and len(first & second) == SHARED
    return paths


@pytest.fixture(scope="module")
def alone(studies, ray_head, tmp_path_factory):
    """Results of the second study where nobody else has any."""
    results = tmp_path_factory.mktemp("alone")
    assert end(launch(studies[1], "--results", results, "--address", ray_head))[0] == 0
    return results


@pytest.fixture(scope="module")
def of_first(studies, ray_head, tmp_path_factory):
    """Results of the first study."""
    results = tmp_path_factory.mktemp("first")
    assert end(launch(studies[0], "--results", results, "--address", ray_head))[0] == 0
    return results


def answers(results, study="second"):
    """What people read of a study: all answers in which no seconds are."""
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
    given = [commands.run(ask, *each, "--results", results, "--study", study) for each in words]
    assert {each.returncode for each in given} == {0}
    return [each.stdout for each in given]


def ran(out):
    return int(re.search(r"(\d+) to run", out)[1])


@pytest.mark.long
def test_the_second_of_two_studies_runs_the_rest_and_its_analyses_are_those_without_reuse(
    studies, of_first, alone, tmp_path
):
    both = tmp_path / "both"
    shutil.copytree(of_first, both)
    code, out, err = end(launch(studies[1], "--results", both))
    assert (code, err) == (0, "")
    assert f"0 with a result, {SHARED} taken over from first ({both / 'first'}), {TRIALS - SHARED} to" in out
    assert rows(both / "second") == rows(alone / "second") and rows(both / "first") == rows(
        of_first / "first"
    )
    assert answers(both) == answers(alone)
    assert answers(both, "first") == answers(of_first, "first")
    counts = "SELECT count(*), count(source), count(DISTINCT launch) FROM trials"
    assert analysis.open(both / "second").execute(counts).fetchall() == [(TRIALS, SHARED, 2)]
    assert analysis.open(both).execute(counts).fetchall() == [(2 * TRIALS - SHARED, 0, 2)]


@pytest.mark.long
def test_a_library_in_a_bucket_is_read_and_stays_as_it_is(studies, of_first, alone, tmp_path, bucket):
    library, results = f"{bucket}/lab", tmp_path / "results"
    remote = place(library)
    pyarrow.fs.copy_files(str(of_first), remote.path, destination_filesystem=remote.store)

    def objects():
        every = [remote.glob("*/*"), remote.glob("*/*/*")]
        return sorted((each.path, each.size) for some in every for each in some)

    before = objects()
    code, out, err = end(launch(studies[1], "--results", results, "--known", library))
    assert (code, err) == (0, "") and objects() == before
    assert f"{SHARED} taken over from first ({library}/first), {TRIALS - SHARED} to run" in out
    assert rows(results / "second") == rows(alone / "second")
    assert answers(results) == answers(alone)
    trials = {trial.id for trial in load(studies[1]).trials()}
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
    assert {row["layer"] for row in overlaps} > {"all layers"}
    assert {row["seeds"] for row in overlaps} <= {3, 4}
    assert all(0 <= row["jaccard"] <= 1 for row in overlaps)


def test_a_launch_that_is_killed_goes_on_with_what_was_taken_over(studies, of_first, alone, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(of_first, results)
    with running(studies[1], "--results", results, "--workers", 1) as process:
        wait_for(results / "second", SHARED + 1, process)
        process.kill()
    code, out, err = end(launch(studies[1], "--results", results))
    assert (code, err) == (0, "") and "taken over" not in out and ran(out) < TRIALS - SHARED
    assert rows(results / "second") == rows(alone / "second")


def test_a_launch_of_either_study_on_merged_results_has_nothing_to_run(studies, of_first, alone, tmp_path):
    merged = tmp_path / "merged"
    assert commands.run(ask, "merge", of_first, alone, "--into", merged).returncode == 0
    for path in studies:
        code, out, _ = here(path, "--results", merged)
        assert code == 0 and ran(out) == 0
    assert answers(merged) == answers(alone)

"""Differences of trials, criteria, studies and launches: planted ones are found, and nothing more is said."""

import json
from functools import partial

import pytest

import analysis
from analysis import diff, marking
from analysis.__main__ import main
from sweep.errors import BadInput
from sweep.store import launches, results
from tests import commands
from tests.analysis.conftest import LATER, trial
from tests.analysis.test_marking import FIRST

run = partial(commands.run, main)


def entry(launch, **changes):
    hardware = {"node": "n1", "cores": 8, "gpus": []} | changes.pop("hardware", {})
    versions = {"torch": "2.9", "python": "3.12"} | changes.pop("versions", {})
    return {"launch": launch, "versions": versions, "hardware": hardware, **changes}


@pytest.fixture
def twice(made):
    """The same trials in two launches: the second is of other code, packages and hardware, and 0.05 better."""
    noise = (0.0, 0.002, 0.004)
    for number, launch in enumerate(("one", "two")):
        rows = [
            trial(
                f"t{seed}-{sparsity}", study="again", seed=seed, sparsity=sparsity, launch=launch, code=f"c{launch}",
                test_accuracy=0.5 + 0.05 * number + noise[seed] * (1 + number), finished_at=FIRST + number * LATER,
            )
            for seed in range(3)
            for sparsity in (0.8, 0.9)
        ]  # fmt: skip
        results.write(made.parent / "again", rows, [[]], [[]])
    for name, changes in (
        ("one", {}),
        ("two", {"versions": {"torch": "2.10"}, "hardware": {"gpus": ["H100"]}}),
    ):
        launches.note_launch(made.parent / "again", "again", "", entry(name, **changes))
    return made.parent


@pytest.mark.slow
def test_two_launches_of_the_same_trials(twice):
    answer = diff.diff(analysis.open(twice), "one", "two")
    assert not answer.fields["config"]
    assert answer.fields["code"] == {"code": ("cone", "ctwo")}
    assert answer.fields["versions"] == {"torch": ("2.9", "2.10")}
    assert answer.fields["hardware"] == {"gpus": ("[]", '["H100"]')}
    assert [round(cell.paired.mean.value, 4) for cell in answer.cells] == [-0.052, -0.052]
    assert all(cell.paired.seeds == 3 and cell.paired.p < 0.05 for cell in answer.cells)
    assert "2 cells in common, certainly above in 0, certainly below in 2" in diff.sentences(answer)[0]


@pytest.mark.slow
def test_invalid_rows_of_a_launch_are_compared_with_nothing(twice):
    marking.put(str(twice), "invalid", "study = 'again'")
    with pytest.raises(BadInput, match="no trial, study, launch or criterion"):
        diff.diff(analysis.open(twice), "one", "two")


@pytest.mark.slow
def test_two_studies_are_compared_in_the_cells_that_both_have(twice):
    answer = diff.diff(analysis.open(twice), "made", "again")
    assert answer.fields["config"]["criterion"] == ("snip, random", "snip")
    assert len(answer.cells) == 2 and "snip, sparsity 0.8" in answer.cells[0].name


@pytest.mark.slow
def test_criteria_are_paired_by_seed_as_in_crossover(made):
    answer = diff.diff(analysis.open(made), "snip", "random:erk")
    assert set(answer.fields["config"]) == {"criterion", "scope"}
    assert [round(cell.paired.mean.value, 3) for cell in answer.cells] == [0.02, 0.02, 0.02, -0.02, -0.4]
    assert "certainly above in 3, certainly below in 2" in diff.sentences(answer)[0]


@pytest.mark.slow
def test_two_trials_have_numbers_and_no_interval(made):
    answer = diff.diff(analysis.open(made), "snip-global-0.9-1", "snip-global-0.9-2")
    assert answer.fields["config"] == {"seed": ("1", "2")}
    assert answer.fields["numbers"] == {"test_accuracy": ("0.959", "0.9705")} and not answer.cells
    assert "no interval" in diff.sentences(answer)[0]


@pytest.mark.slow
def test_an_unfinished_study_is_not_tested(made):
    began = {"trials": 100, "to_run": 100, "started_at": FIRST.isoformat(), "launch": "x"}
    launches.note_launch(made, "made", "", began)
    answer = diff.diff(analysis.open(made), "snip", "random:erk")
    assert "certainly above in 0, certainly below in 0" in diff.sentences(answer)[0]
    assert "for 0 tests" in diff.sentences(answer)[0]


@pytest.mark.slow
def test_cells_with_several_trials_of_a_seed_are_counted_and_not_compared(made, add):
    """Trials of two learning rates against those of a third: which with which?"""
    for rate in (0.5, 0.6):
        add(trial(f"lr{rate}", lr=rate, criterion="grasp", test_accuracy=0.5))
    answer = diff.diff(analysis.open(made), "grasp", "snip")
    assert answer.ambiguous == 1 and not answer.cells
    assert "no cell in common" in diff.sentences(answer)[0]


@pytest.mark.slow
def test_lost_runs_are_taken_at_chance_before_a_difference_is_certain(made, add):
    add(*(trial(f"snip-global-0.8-{s}", seed=s, sparsity=0.8, status="diverged") for s in (5, 6)))
    add(*(trial(f"r{s}", criterion="random", seed=s, sparsity=0.8, test_accuracy=0.9) for s in (5, 6)))
    answer = diff.diff(analysis.open(made), "snip", "random:global")
    assert answer.cells[0].paired.lost == (2, 0) and answer.cells[0].paired.p == 1.0
    assert "2 lost runs" in diff.sentences(answer)[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pair", "why"),
    [(("snip", "made"), "kind"), (("nobody", "snip"), "no trial"), (("snip-g", "snip"), "several")],
)
def test_what_cannot_be_compared_is_one_line(made, pair, why):
    answer = run("diff", *pair, "--results", made)
    assert answer.returncode == 2 and why in answer.stderr and answer.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_command_prints_a_table_and_a_sentence_and_reads_damaged_files(twice):
    (twice / "made" / "study.json").write_text(json.dumps({"launches": [3, {"launch": []}]}))
    answer = run("diff", "one", "two", "--results", twice)
    assert answer.returncode == 0 and "2.10" in answer.stdout and "H100" in answer.stdout
    assert run("diff", "one", "two", "--results", twice, "--format", "json").stdout.startswith("[")

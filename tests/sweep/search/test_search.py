import pytest
import yaml

from sweep.search.answer import _as_study
from sweep.search.candidate import Candidate
from sweep.search.history import History
from sweep.search.journal import Journal, opened
from sweep.search.tuner import Tuner
from sweep.study import load
from sweep.trial import Result
from tests.sweep.search.made_up import STUDY, row


def asked(path, folder, known, count=3):
    """A search goes on for some trials."""
    study = load(path)
    remembered = opened(study, study.search, Journal(folder))
    tuner = Tuner(study.search, History(study.search, remembered, known), len(known))
    for _ in range(count):
        found = row(tuner.ask().jobs[0].trial)
        known[found["trial_id"]] = found
        tuner.tell(Result(found))
    return remembered


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[random, magnitude, snip, force]", "[random, snip, force]"),
        ("[global, erk, uniform]", "[global, erk, uniform, er]"),
        ("high: 1, log: true}", "high: 1}"),
        ("seeds: 3", "seeds: 3\n  objectives: density"),
        ("seeds: 3", "seeds: 3\n  objectives: [accuracy, density]"),
    ],
)
def test_a_search_whose_file_was_edited_goes_on_with_what_was_measured(old, new, study_file, tmp_path):
    known = {}
    before = asked(study_file(STUDY), tmp_path, known)
    path = study_file(STUDY.replace(old, new))
    after = asked(path, tmp_path, known)
    objectives = load(path).search.objectives
    assert [d.name for d in after.directions] == [
        "MAXIMIZE" if name == "accuracy" else "MINIMIZE" for name in objectives
    ]
    assert before.study_name == "look" != after.study_name
    again = asked(study_file(STUDY + "# a remark\n"), tmp_path, known)
    assert again.study_name == "look" and len(again.trials) > len(before.trials) - 3


def test_the_best_as_a_study_file_is_what_was_measured(study_file, tmp_path):
    """Its iterations where the criterion's own number is another, and its seeds whatever they are."""
    study = load(study_file(STUDY))
    chosen = {"criterion": "force", "iterations": 1, "scope": "erk", "prune_epoch": 1.0, "lr": 0.1}
    candidate = Candidate(chosen, study.search.make(chosen))
    measured = [candidate.trial(seed) for seed in (5, 6)]
    for trial in measured:
        candidate.take(row(trial))
    path = tmp_path / "best.yaml"
    path.write_text(_as_study(study, [candidate]))
    assert yaml.safe_load(path.read_text())["blocks"][0]["seed"] == [5, 6]
    assert {trial.id for trial in load(path).trials()} == {trial.id for trial in measured}

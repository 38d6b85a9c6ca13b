"""Which schedules are an answer, on made-up results."""

import optuna

from sweep.search.history import History
from sweep.search.samplers import SAMPLERS
from sweep.search.tuner import Tuner
from sweep.study import load
from tests.sweep.search.made_up import STUDY, accuracy, go, row, searching


def test_failed_and_diverged_trials_are_no_answer(study_file):
    def judge(trial):
        if trial.config.criterion == "force":
            return row(trial, status="failed", val_accuracy=None)
        if trial.config.criterion == "snip":
            return row(trial, status="diverged", val_accuracy=None)
        return row(trial)

    tuner = searching(study_file)
    go(tuner, judge=judge)
    [best] = tuner.best()
    assert best.config.criterion in ("random", "magnitude")


def test_where_every_trial_fails_there_is_no_answer(study_file):
    tuner = searching(study_file, STUDY.replace("seeds: 3", "seeds: 1"))
    go(tuner, judge=lambda trial: row(trial, status="failed", val_accuracy=None))
    assert tuner.best() == []


def test_a_schedule_that_breaks_a_constraint_is_no_answer(study_file):
    text = STUDY.replace("seeds: 3", "seeds: 1\n  no_collapse: true\n  min_accuracy: 0.5")
    tuner = searching(study_file, text)
    go(tuner, judge=lambda trial: row(trial, collapsed_layers=int(trial.config.scope == "erk")))
    [best] = tuner.best()
    assert best.config.scope != "erk"
    broken = [t for t in tuner.history.study.trials if t.constraints.get("collapsed layers", 0) > 0]
    assert broken


def test_several_objectives_have_a_front(study_file):
    text = STUDY.replace("sparsity: 0.99\n", "").replace(
        "seeds: 3", "seeds: 1\n  objectives: [accuracy, density]"
    )
    text += "    sparsity: [0.5, 0.9, 0.99]\n"
    search = load(study_file(text)).search
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=SAMPLERS["nsga2"](search, 0))
    tuner = Tuner(search, History(search, study, {}))
    go(
        tuner,
        judge=lambda trial: row(trial, val_accuracy=accuracy(trial.config) - trial.config.sparsity / 10),
    )
    front = tuner.best()
    points = [(c.mean("val_accuracy"), c.mean("density")) for c in front]
    assert len(points) > 1 and points == sorted(points, reverse=True)
    assert [d for _, d in points] == sorted({d for _, d in points}, reverse=True)

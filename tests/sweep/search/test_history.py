"""What a search knows before it begins, on made-up results."""

from dataclasses import replace
from functools import partial

import optuna
import pytest

from sweep.study.identity import Trial
from sweep.trial import Result
from tests.sweep.search.made_up import STOPS, STUDY, go, row, searching, stopping

STEPS = STUDY.replace("sparsity: 0.99\n", "")
STEPS = STEPS[: STEPS.index("    iterations")] + "    sparsity: {low: 0.5, high: 0.9, step: 0.05}\n"


@pytest.mark.slow
def test_what_was_measured_at_a_sum_of_binary_fractions_stays_and_is_not_run_again_at_the_decimal(study_file):
    """0.5 and 7 steps of 0.05 come to 0.8500000000000001 in binary, which searches once ran."""
    sums = sorted(
        {0.5 + steps * 0.05 for steps in range(9)} - {0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9}
    )
    assert 0.8500000000000001 in sums
    # Drawn at random: the space, not the sampler, makes numbers of steps, and draws cost nothing.
    drawn = partial(searching, study_file, sampler="random")
    fresh = drawn(STEPS.replace("seeds: 3", "seeds: 1").replace("40", "400"))
    decimals = {trial.config.sparsity for trial in go(fresh)}
    assert decimals == {0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9}
    make = fresh.search.make
    old = [Trial.of(make({"criterion": c, "sparsity": s})) for s in sums for c in ("snip", "force")]
    known = [row(trial) for trial in old]
    tuner = drawn(STEPS.replace("seeds: 3", "seeds: 2").replace("40", "400"), known)
    assert tuner.history.warm == len(old)
    assert {t.params["sparsity"] for t in tuner.history.study.trials} < decimals, (
        "Optuna has one point for both"
    )
    ran = go(tuner)
    new = {(t.config.criterion, t.config.sparsity) for t in ran if t.config.seed == 0}
    assert not new & {(c, round(s, 2)) for s in sums for c in ("snip", "force")}, "not run again"
    assert {t.config.sparsity for t in ran if t.config.seed == 1} & set(sums), "its other seeds go with it"


@pytest.mark.slow
def test_what_was_measured_at_a_sum_of_binary_fractions_gets_more_seeds_of_its_own_study(study_file):
    text = STEPS.replace("epochs: 4", "epochs: 4\nseed: 5").replace("seeds: 3", "seeds: 2")
    text = text.replace("[random, magnitude, snip, force]", "[snip]").replace("40", "400")
    old = searching(study_file, text).search.make({"criterion": "snip", "sparsity": 0.8500000000000001})
    ran = go(searching(study_file, text, [row(Trial.of(old))], sampler="random"))
    assert {trial.config.seed for trial in ran} == {5, 6}


@pytest.mark.slow
def test_what_is_known_is_told_before_anything_is_asked_and_never_run_again(study_file):
    first = searching(study_file)
    known = [row(trial) for trial in go(first)]
    second = searching(study_file, known=known)
    schedules = {r["config"].replace(f'"seed":{r["seed"]}', "") for r in known}
    assert second.history.warm == len(second.history.study.trials) == len(schedules)
    again = {trial.id for trial in go(second)}
    assert not again & {r["trial_id"] for r in known} and 37 < len(again) <= 40


def test_results_of_another_study_or_outside_the_space_are_not_taken_for_its_own(study_file):
    tuner = searching(study_file)
    [pack] = [tuner.ask()]
    inside = pack.jobs[0].trial
    others = [
        replace(inside.config, **update)
        for update in ({"epochs": 5}, {"lr": 5.0}, {"criterion": "grasp"}, {"sparsity": 0.9})
    ]
    known = [row(type(inside).of(config)) for config in (inside.config, *others)]
    assert searching(study_file, known=known).history.warm == 1


def test_a_search_that_was_killed_goes_on_where_it_was(study_file):
    tuner = searching(study_file)
    done = []
    for _ in range(10):
        [job] = tuner.ask().jobs
        done.append(row(job.trial))
        tuner.tell(Result(done[-1]))
    open_trials = [tuner.ask().jobs[0].trial for _ in range(2)]
    again = searching(study_file, known=done, study=tuner.history.study, ran=len(done))
    ran = go(again)
    assert 27 < len(ran) <= 30 and not {t.id for t in ran} & {r["trial_id"] for r in done}
    assert {t.id for t in open_trials} <= {t.id for t in ran}, "what was under way comes first"
    complete = [t for t in again.history.study.trials if t.state is optuna.trial.TrialState.COMPLETE]
    told = [name for t in complete for name in t.user_attrs["trial_ids"]]
    assert len(told) == len(set(told)), "nothing is told twice"


def test_results_that_cannot_be_of_the_space_are_ruled_out_unread(study_file):
    text = STUDY.replace("sparsity: 0.99\n", "").replace("epochs: 4\n", "")
    text += "    sparsity: [0.9, 0.99]\n    epochs: {low: 2, high: 4}\n"
    inside = searching(study_file, text).ask().jobs[0].trial
    other = row(inside) | {"trial_id": "other", "config": "{"}
    wrong = ({"dataset": "mnist"}, {"model": "lenet-5"}, {"sparsity": 0.5}, {"epochs": 5})
    known = [row(inside), *(other | fields | {"trial_id": str(fields)} for fields in wrong)]
    assert searching(study_file, text, known=known).history.warm == 1
    with pytest.raises(ValueError, match="Expecting"):
        searching(study_file, text, known=[other])


@pytest.mark.slow
def test_a_killed_search_does_not_run_again_what_it_stopped_and_another_one_does(study_file):
    """Killed before Optuna was told of the last one that was stopped."""
    tuner, found = searching(study_file, STOPS), []
    while sum(result.trial["status"] == "stopped" for result in found) < 3:
        [job] = tuner.ask().jobs
        found.append(stopping(job.trial))
        if len([r for r in found if r.trial["status"] == "stopped"]) < 3:
            tuner.tell(found[-1])
    known = [result.trial for result in found]
    curves = {
        r.trial["trial_id"]: [e["val_accuracy"] for e in r.curves if e["phase"] == "retrain"] for r in found
    }
    stopped = {r["trial_id"] for r in known if r["status"] == "stopped"}
    again = searching(study_file, STOPS, known, tuner.history.study, ran=len(known), curves=curves)
    pruned = [t for t in again.history.study.trials if t.state is optuna.trial.TrialState.PRUNED]
    assert {name for t in pruned for name in t.user_attrs["trial_ids"]} == stopped
    assert [t.intermediate_values for t in pruned] == [{1: 0.1}] * 3
    compared = again.judge().args[0].past
    assert {past.trial.id for past in compared if not past.finished} == stopped
    assert all(past.finished == (len(past.accuracies) == 2) for past in compared)
    assert not {trial.id for trial in go(again, judge=stopping)} & {r["trial_id"] for r in known}
    pruned = [t for t in again.history.study.trials if t.state is optuna.trial.TrialState.PRUNED]
    told = [name for t in pruned for name in t.user_attrs["trial_ids"]]
    assert stopped < set(told) and len(told) == len(set(told)), "nothing is told twice"

    only = STUDY.partition("  space:")[0] + "  space:\n    criterion: [snip]\n    lr: [0.1, 0.2]\n"
    first = searching(study_file, only.replace("seeds: 3", "seeds: 1\n  stop: median"), sampler="random")
    ran = {trial.id for trial in go(first, judge=stopping)}
    later = searching(study_file, only.replace("seeds: 3", "seeds: 1"), sampler="random")
    assert ran == {trial.id for trial in go(later)} and len(ran) == 2 and later.judge() is None

"""Which trials a search asks for, on made-up results."""

import warnings

import optuna
import pytest

from sweep.errors import BadInput
from sweep.study import load
from sweep.trial import Result
from tests.sweep.search.made_up import STOPS, STUDY, go, row, searching, stopping


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "random", "nsga2", "gp", "cma-es"])
def test_a_search_runs_its_trials_once_each_and_the_best_has_all_its_seeds(sampler, study_file):
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        warnings.simplefilter("error", DeprecationWarning)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # A Gaussian process takes its time, from its eleventh choice on.
        trials = 22 if sampler == "gp" else 40
        tuner = searching(study_file, STUDY.replace("trials: 40", f"trials: {trials}"), sampler=sampler)
        ran = go(tuner)
    assert len(ran) == len({trial.id for trial in ran})
    assert trials - 3 < len(ran) <= trials, "what would not do for all seeds of another schedule is left"
    [best] = tuner.best()
    assert len(best.rows) == 3
    told = [t for t in tuner.history.study.trials if t.state is optuna.trial.TrialState.COMPLETE]
    for trial in told:
        values = [tuner.history.rows[name]["val_accuracy"] for name in trial.user_attrs["trial_ids"]]
        assert trial.value == pytest.approx(sum(values) / len(values)), "history and results agree"


SMALL = STUDY[: STUDY.index("    iterations")] + "    scope: [global, erk, uniform]\n"


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_schedule_that_is_chosen_again_while_it_runs_is_run_once(sampler, study_file):
    """Nor told twice, which Optuna takes for an error."""
    tuner = searching(study_file, SMALL, sampler=sampler)
    ran = [trial.id for trial in go(tuner)]
    assert len(ran) == len(set(ran)) > 10


def test_a_search_chooses_among_compensations_and_orders_of_scores(study_file):
    space = "    compensate: [none, obs, bias]\n    score_order: [whole, blockwise]\n"
    text = SMALL.replace("[global, erk, uniform]", "[erk, uniform]") + space
    ran = go(searching(study_file, text, sampler="random"))
    assert {trial.config.compensate for trial in ran} == {"none", "obs", "bias"}
    assert {trial.config.score_order for trial in ran} == {"whole", "blockwise"}


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "grid"])
def test_with_all_schedules_out_a_search_waits_without_choosing_on(sampler, study_file):
    text = SMALL.replace("seeds: 3", "seeds: 1").replace("trials: 40", "trials: 400")
    tuner = searching(study_file, text, sampler=sampler)
    out = []
    while pack := tuner.ask():
        out += pack.jobs
    assert len({job.trial.id for job in out}) == len(out) == 12
    asked = len(tuner.history.study.trials)
    for _ in range(50):
        assert tuner.ask() is None
    assert len(tuner.history.study.trials) == asked
    for job in out:
        tuner.tell(Result(row(job.trial)))
        assert tuner.ask() is None
    assert len(tuner.history.study.trials) - asked < 250, "fewer each time that something is heard"


def test_a_schedule_that_looks_best_is_measured_with_more_seeds_and_a_poor_one_is_not(study_file):
    tuner = searching(study_file)
    go(tuner)
    seeds = {}
    for candidate in tuner.candidates:
        seeds.setdefault(len(candidate.rows), []).append(candidate.mean("val_accuracy"))
    assert seeds.keys() == {1, 3}
    assert max(seeds[1]) < max(seeds[3])


def test_a_schedule_that_is_asked_for_again_while_it_runs_is_run_once(study_file):
    text = STUDY.partition("    criterion")[0] + "    criterion: [random, snip]\n    scope: [global, erk]\n"
    tuner = searching(study_file, text.replace("seeds: 3", "seeds: 1"), sampler="random")
    out = [tuner.ask() for _ in range(3)]
    out = [pack.jobs[0].trial for pack in out if pack]
    assert len({trial.id for trial in out}) == len(out) > 1
    for trial in out:
        tuner.tell(Result(row(trial)))
    assert all(t.state.is_finished() for t in tuner.history.study.trials)


def test_a_stopped_trial_is_told_as_pruned_and_is_no_answer(study_file):
    for seeds in (1, 3):
        tuner = searching(study_file, STOPS.replace("seeds: 3", f"seeds: {seeds}"))
        ran = go(tuner, judge=stopping)
        stopped = {t.id for t in ran if t.config.criterion == "snip"}
        pruned = [t for t in tuner.history.study.trials if t.state is optuna.trial.TrialState.PRUNED]
        assert {name for t in pruned for name in t.user_attrs["trial_ids"]} == stopped and stopped
        assert all(t.intermediate_values == {1: 0.1} and t.params["criterion"] == "snip" for t in pruned)
        complete = [t for t in tuner.history.study.trials if t.state is optuna.trial.TrialState.COMPLETE]
        assert all(t.intermediate_values == {1: 0.2, 2: 0.3} for t in complete) and complete
        [best] = tuner.best()
        assert best.config.criterion != "snip"


def test_grid_takes_every_choice_and_ends(study_file):
    text = STUDY.replace("prune_epoch: {low: 0, high: 3, step: 0.5}", "prune_epoch: [0, 1]")
    text = text.replace("lr: {low: 0.01, high: 1, log: true}", "lr: [0.1, 0.2]").replace(
        "seeds: 3", "seeds: 1"
    )
    text = "\n".join(line for line in text.split("\n") if "iterations" not in line)
    tuner = searching(study_file, text, sampler="grid")
    assert len({trial.id for trial in go(tuner)}) == 4 * 3 * 2 * 2 - 8  # at its end Optuna asks again


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        (
            "criterion: [random",
            "criterium: [random",
            10,
            "unknown key 'criterium' in a space; did you mean criterion?",
        ),
        ("low: 0, high: 3", "low: 3, high: 0", 13, "prune_epoch: an empty range, from 3.0 to 0.0"),
        ("low: 0.01, high: 1, log", "low: 0, high: 1, log", 14, "lr"),
        (
            "when: {criterion: force}",
            "when: {scope: erk}",
            11,
            "iterations can only depend on a dimension before it",
        ),
        ("when: {criterion: force}", "when: {criterion: forc}", 11, "did you mean force?"),
        ("trials: 40", "trials: 0", 7, "trials 0: input should be greater than or equal to 1"),
        ("trials: 40", "trails: 40", 7, "did you mean trials?"),
        ("seeds: 3", "sampler: best", 8, "sampler best: input should be 'tpe'"),
        ("sparsity: 0.99", "sparsity: [0.9, 0.99]", 5, "sparsity: one value beside a search"),
        ("sparsity: 0.99\n", "", 6, "sparsity is missing"),
        ("sparsity: 0.99", "sparsity: 0.99\nscope: erk", 13, "scope: the study gives it a value already"),
        (
            "lr: {low: 0.01, high: 1, log: true}",
            "lr: {low: 0.01}",
            14,
            "lr: give a list of values, or low and high",
        ),
        ("lr: {low: 0.01, high: 1, log: true}", "lr: {low: a, high: 1}", 14, "lr a"),
        ("search:", "blocks:\n  - seed: 1\nsearch:", 7, "blocks: a search has none"),
        ("space:", "spice:", 9, "did you mean space?"),
        ("seeds: 3", "stop: soon", 8, "stop soon: input should be 'median', 'asha' or 'hyperband'"),
        (
            "seeds: 3",
            "stop: asha\n  stop_after: 0",
            9,
            "stop_after 0: input should be greater than or equal to 1",
        ),
        ("seeds: 3", "stop_after: 2", 8, "stop_after: nothing is stopped without stop"),
        (
            "seeds: 3",
            "stop: asha\n  objectives: [accuracy, density]",
            8,
            "stop: it goes by accuracy alone; leave it out, or the other objectives",
        ),
        ("seeds: 3", "sampler: grid", 8, "sampler grid: every dimension needs a list of values"),
        (
            "lr: {low: 0.01, high: 1, log: true}",
            "lr: [1]\n  sampler: cma-es",
            15,
            "sampler cma-es: it needs two dimensions from low to high that always matter",
        ),
        (
            "seeds: 3",
            "sampler: cma-es\n  objectives: [accuracy, cost]",
            8,
            "sampler cma-es: it has one objective",
        ),
    ],
)
def test_a_bad_space_is_one_line(old, new, line, message, study_file):
    path = study_file(STUDY.replace(old, new, 1))
    with pytest.raises(BadInput) as error:
        load(path)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert str(error.value).startswith(f"{path}:{line}: ")

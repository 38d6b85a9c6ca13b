"""Search on made-up results: a table says what a schedule gives, so that a search takes no training."""

import warnings
from dataclasses import replace
from datetime import UTC, datetime

import optuna
import pytest

from sweep.errors import BadInput
from sweep.search.history import History
from sweep.search.samplers import SAMPLERS
from sweep.search.tuner import Tuner
from sweep.study import load
from sweep.study.identity import Trial
from sweep.trial import Result

STUDY = """\
name: look
dataset: digits
model: conv-5
epochs: 4
sparsity: 0.99
search:
  trials: 40
  seeds: 3
  space:
    criterion: [random, magnitude, snip, force]
    iterations: {low: 1, high: 20, log: true, when: {criterion: force}}
    scope: [global, erk, uniform]
    prune_epoch: {low: 0, high: 3, step: 0.5}
    lr: {low: 0.01, high: 1, log: true}
"""


def accuracy(config):
    """Best at FORCE with many iterations, ERK, epoch 1, 0.1; seeds differ by a little."""
    found = 0.9 - 0.05 * (config.criterion != "force") - 0.03 * (config.scope != "erk")
    found -= 0.05 * abs(config.prune_epoch - 1) + 0.1 * abs(config.lr - 0.1) - 0.001 * config.iterations
    return found + (config.seed % 3 - 1) * 0.002


def row(trial, **fields):
    now = datetime.now(UTC)
    value = accuracy(trial.config)
    own = {"status": "ok", "val_accuracy": value, "test_accuracy": value, "finished_at": now}
    network = {"density": 1 - trial.config.sparsity, "macs_masked": 100, "collapsed_layers": 0}
    return trial.columns() | own | network | fields


def searching(study_file, text=STUDY, known=(), study=None, sampler=None, ran=0, curves=None):
    search = load(study_file(text)).search
    sampler = SAMPLERS[sampler or search.sampler](search, 0)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = study or optuna.create_study(directions=["maximize"] * len(search.objectives), sampler=sampler)
    return Tuner(search, History(search, study, {r["trial_id"]: r for r in known}, curves), ran)


def go(tuner, at_once=2, judge=row):
    """Run it to its end, so many trials at a time; all trials it ran."""
    out, ran = [], []
    while True:
        while len(out) < at_once and (pack := tuner.ask()):
            out += [job.trial for job in pack.jobs]
        if not out:
            return ran
        trial = out.pop(0)
        ran.append(trial)
        found = judge(trial)
        tuner.tell(found if isinstance(found, Result) else Result(found))


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsga2", "gp", "cma-es"])
def test_a_search_runs_its_trials_once_each_and_the_best_has_all_its_seeds(sampler, study_file):
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        warnings.simplefilter("error", DeprecationWarning)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        tuner = searching(study_file, sampler=sampler)
        ran = go(tuner)
    assert len(ran) == len({trial.id for trial in ran})
    assert 37 < len(ran) <= 40, "what would not do for all seeds of another schedule is left"
    [best] = tuner.best()
    assert len(best.rows) == 3
    told = [t for t in tuner.history.study.trials if t.state is optuna.trial.TrialState.COMPLETE]
    for trial in told:
        values = [tuner.history.rows[name]["val_accuracy"] for name in trial.user_attrs["trial_ids"]]
        assert trial.value == pytest.approx(sum(values) / len(values)), "history and results agree"


STEPS = STUDY.replace("sparsity: 0.99\n", "")
STEPS = STEPS[: STEPS.index("    iterations")] + "    sparsity: {low: 0.5, high: 0.9, step: 0.05}\n"


def test_what_was_measured_at_a_sum_of_binary_fractions_stays_and_is_not_run_again_at_the_decimal(study_file):
    """0.5 and 7 steps of 0.05 come to 0.8500000000000001 in binary, which searches once ran."""
    sums = sorted(
        {0.5 + steps * 0.05 for steps in range(9)} - {0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9}
    )
    assert 0.8500000000000001 in sums
    fresh = searching(study_file, STEPS.replace("seeds: 3", "seeds: 1").replace("40", "400"))
    decimals = {trial.config.sparsity for trial in go(fresh)}
    assert decimals == {0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9}
    make = fresh.search.make
    old = [Trial.of(make({"criterion": c, "sparsity": s})) for s in sums for c in ("snip", "force")]
    known = [row(trial) for trial in old]
    tuner = searching(study_file, STEPS.replace("seeds: 3", "seeds: 2").replace("40", "400"), known)
    assert tuner.history.warm == len(old)
    assert {t.params["sparsity"] for t in tuner.history.study.trials} < decimals, (
        "Optuna has one point for both"
    )
    ran = go(tuner)
    new = {(t.config.criterion, t.config.sparsity) for t in ran if t.config.seed == 0}
    assert not new & {(c, round(s, 2)) for s in sums for c in ("snip", "force")}, "not run again"
    assert {t.config.sparsity for t in ran if t.config.seed == 1} & set(sums), "its other seeds go with it"


SMALL = STUDY[: STUDY.index("    iterations")] + "    scope: [global, erk, uniform]\n"


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_schedule_that_is_chosen_again_while_it_runs_is_run_once(sampler, study_file):
    """Nor told twice, which Optuna takes for an error."""
    tuner = searching(study_file, SMALL, sampler=sampler)
    ran = [trial.id for trial in go(tuner)]
    assert len(ran) == len(set(ran)) > 10


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


def test_a_schedule_that_is_asked_for_again_while_it_runs_is_run_once(study_file):
    text = STUDY.partition("    criterion")[0] + "    criterion: [random, snip]\n    scope: [global, erk]\n"
    tuner = searching(study_file, text.replace("seeds: 3", "seeds: 1"), sampler="random")
    out = [tuner.ask() for _ in range(3)]
    out = [pack.jobs[0].trial for pack in out if pack]
    assert len({trial.id for trial in out}) == len(out) > 1
    for trial in out:
        tuner.tell(Result(row(trial)))
    assert all(t.state.is_finished() for t in tuner.history.study.trials)


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


def stopping(trial):
    """SNIP is stopped after its first epoch of retraining."""
    poor = trial.config.criterion == "snip"
    curve = [{"phase": "dense", "val_accuracy": 0.99}]
    curve += [{"phase": "retrain", "val_accuracy": a} for a in ([0.1] if poor else [0.2, 0.3])]
    fields = {"status": "stopped", "val_accuracy": None} if poor else {}
    return Result(row(trial, **fields), curve)


STOPS = STUDY.replace("seeds: 3", "seeds: 3\n  stop: median")


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

"""Early stopping on made-up accuracies: who is stopped, by whom it is compared."""

import pytest

from sweep.config import Config
from sweep.search.stopping import PRUNERS, Judge, Past, Rule
from sweep.study.identity import Trial

EPOCHS = 9


def trial(number, **fields):
    base = {"dataset": "digits", "model": "conv-5", "criterion": "snip", "sparsity": 0.9, "epochs": EPOCHS}
    return Trial.of(Config(**(base | {"lr": 0.01 * (number + 1)} | fields)))


def rule(name, after=1, past=()):
    return Rule(name, after, 0, past)


def train(judge, asked, accuracy):
    """Epochs that a trial has until it is stopped; all of them if it is not."""
    for epoch in range(1, EPOCHS + 1):
        if judge.poor(asked, epoch, accuracy * epoch / EPOCHS, epoch == EPOCHS):
            return epoch
    return EPOCHS


@pytest.mark.parametrize("name", PRUNERS)
def test_poor_trials_are_stopped_and_the_best_are_not(name):
    judge = Judge(rule(name))
    accuracies = [0.5 + (7 * number % 20) / 100 for number in range(40)]
    lasted = [train(judge, trial(number), accuracy) for number, accuracy in enumerate(accuracies)]
    assert lasted[0] == EPOCHS, "the first has nothing to be compared with"
    assert sum(epochs < EPOCHS for epochs in lasted) > 10
    assert train(judge, trial(50), 0.9) == EPOCHS, "the best so far"
    assert min(train(judge, trial(60 + number), 0.1) for number in range(9)) < EPOCHS


@pytest.mark.parametrize("name", PRUNERS)
def test_nothing_is_stopped_before_its_epoch_or_at_its_last(name):
    judge = Judge(rule(name, after=3))
    lasted = [train(judge, trial(number), 0.9 - number / 100) for number in range(40)]
    stopped = [epochs for epochs in lasted if epochs < EPOCHS]
    assert stopped and min(stopped) >= 3


@pytest.mark.parametrize("other", [{"prune_epoch": 3}, {"epochs": 30}, {"prune_epoch": 8, "rewind_epoch": 4}])
def test_only_trials_alike_are_compared(other):
    """What is pruned later, or trains longer, is at another place of its training after as many epochs."""
    judge = Judge(rule("asha"))
    for number in range(8):
        train(judge, trial(number), 0.9)
    assert judge.poor(trial(20), 1, 0.01, False)
    assert not judge.poor(trial(20, **other), 1, 0.01, False)
    assert judge.poor(trial(21, prune_epoch=0.5), 1, 0.01, False), "pruned within the same epoch"


def test_the_further_seeds_of_what_looks_good_are_never_stopped():
    judge = Judge(rule("asha"))
    for number in range(8):
        train(judge, trial(number), 0.9)
    assert not judge.poor(trial(20, seed=1), 1, 0.01, False)


def test_a_trial_whose_worker_died_is_judged_as_before():
    judge = Judge(rule("asha"))
    for number in range(8):
        train(judge, trial(number), 0.9)
    poor = trial(20)
    assert judge.poor(poor, 1, 0.01, False) and judge.poor(poor, 1, 0.01, False)
    assert train(judge, trial(0), 0.9) == EPOCHS, "one that had ended already"


@pytest.mark.parametrize("name", ["median", "asha"])
def test_the_past_counts_as_if_it_had_just_been(name):
    live, said = Judge(rule(name)), []
    accuracies = [0.5 + (7 * number % 20) / 100 for number in range(20)]
    for number, accuracy in enumerate(accuracies):
        epochs = train(live, trial(number), accuracy)
        curve = [accuracy * epoch / EPOCHS for epoch in range(1, epochs + 1)]
        said.append(Past(trial(number), curve, epochs == EPOCHS))
    again = Judge(rule(name, past=said))
    later = [(30 + number, 0.5 + (3 * number % 20) / 100) for number in range(20)]
    first, second = ([train(judge, trial(n), a) for n, a in later] for judge in (live, again))
    assert first == second and min(first) < EPOCHS
    blank = Judge(rule(name))
    assert [train(blank, trial(n), a) for n, a in later] != first, "it does count"

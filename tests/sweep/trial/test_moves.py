"""A trial that is killed and goes on from its checkpoint gives the numbers of one that nobody disturbed."""

import random
from dataclasses import replace

import pytest
import torch

from sweep import parts, plan
from sweep.store.states import Store
from sweep.trial import run
from sweep.trial.prefixes import Shared
from sweep.trial.running import Running
from tests.sweep.trial.test_prefixes import root, trial  # noqa: F401
from tests.sweep.trial.test_run import numbers

OWN = """\
import torch
import pruners
from sweep.parts import optimizer, rule

@rule(reads=["prune_epoch"])
def by_halves(run):
    '''Prunes what two trained networks agree on: it remembers weights of the past, and the random draws.'''
    run.dense(run.steps_of(1))
    first = {name: w.detach().clone() for name, w in pruners.prunable(run.model).items()}
    half = pruners.prune("magnitude", run.model, sparsity=0.5)
    run.mask(half)
    run.train("half", run.steps_of(2))
    draws = torch.Generator().manual_seed(run.config.roots.mask)
    scores = {
        name: (first[name] * w.detach()).abs() * half[name] + 1e-9 * torch.rand(w.shape, generator=draws)
        for name, w in pruners.prunable(run.model).items()
    }
    flat = torch.cat([score.flatten() for score in scores.values()])
    least = flat.sort().values[-pruners.kept_count(run.total, run.config.sparsity)]
    run.prune(pruners.Step(scores, {name: score >= least for name, score in scores.items()}))
    run.resume(False)
    run.train("retrain", run.end)

@rule(reads=["prune_epoch"])
def between(run):
    '''Counts its steps in a variable, of which no checkpoint can know.'''
    run.dense(run.steps_of(1))
    run.prune(next(pruners.trajectory("magnitude", run.model, sparsity=run.config.sparsity)))
    run.resume(False)
    steps = []
    def every_third(step):
        steps.append(step)
        return len(steps) % 3 == 0
    run.train("retrain", run.end, every_third)

@rule(reads=["prune_epoch"])
def kept_state(run):
    '''The same, with its count where a checkpoint finds it.'''
    class Third:
        count = 0
        def __call__(self, step):
            self.count += 1
            return self.count % 3 == 0
        def state_dict(self):
            return {"count": self.count}
        def load_state_dict(self, state):
            self.count = state["count"]
    third = Third()
    run.dense(run.steps_of(1))
    run.prune(next(pruners.trajectory("magnitude", run.model, sparsity=run.config.sparsity)))
    run.resume(False)
    run.train("retrain", run.steps_of(2), third)
    run.train("retrain", run.end, third)

@rule(reads=["prune_epoch"])
def whim(run):
    '''Does something else each time, as by a random number without a seed.'''
    run.dense(run.steps_of(1))
    sparsity = run.config.sparsity
    chosen = next(pruners.trajectory("random", run.model, sparsity=sparsity, seed=torch.seed() % 2**31))
    run.prune(chosen)
    run.resume(False)
    run.train("retrain", run.end)

@optimizer
class Rows(torch.optim.Optimizer):
    '''Keeps a number for each row, and how many steps it has made: neither has the shape of a weight.'''
    def __init__(self, parameters, settings):
        super().__init__(parameters, {"lr": 0.1})
    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                state["steps"] = state.get("steps", 0) + 1
                rows = weight.grad.flatten(1).norm(dim=1) if weight.dim() > 1 else weight.grad.abs()
                state["rows"] = 0.9 * state.get("rows", 0) + rows
                shape = (-1,) + (1,) * (weight.dim() - 1)
                weight -= group["lr"] * weight.grad / (1 + state["rows"].view(shape)) / state["steps"] ** 0.5
"""
FIELDS = {
    "rewound": {"prune_epoch": 1.5, "rewind_epoch": 0.5},
    "rewound to the start": {"prune_epoch": 1.5, "rewind_epoch": 0},
    "a schedule of its own": {
        "prune_epoch": 1,
        "retrain": "bn+bias",
        "retrain_epochs": 1.3,
        "retrain_lr": 0.05,
    },
    "iterations": {"criterion": "force", "iterations": 3},
    "new weights": {"prune_epoch": 2, "ablation": "reinit", "optimizer": "adamw", "lr": 0.01},
    "filters": {"structure": "filter", "sparsity": 0.5, "prune_epoch": 1, "augment": "flip"},
    "oracle": {"criterion": "oracle", "structure": "filter", "sparsity": 0.5, "prune_epoch": 1.2},
    "dense": {"sparsity": 0, "epochs": 2, "optimizer": "adam", "lr": 0.01, "lr_schedule": "one-cycle"},
    "levels": {"criterion": "imp", "sparsity": 0.488, "iterations": 3, "rewind_epoch": 0.5, "epochs": 1},
    "levels, new weights": {
        "criterion": "imp",
        "sparsity": 0.36,
        "iterations": 2,
        "ablation": "reinit",
        "epochs": 1,
    },
    **{
        name: {"criterion": name, "update_every": 4, **more}
        for name, more in (("gmp", {"prune_epoch": 0.5}), ("set", {}), ("rigl", {}), ("granet", {}))
    },
    "an own rule": {"criterion": "by_halves"},
    "an own rule between steps": {"criterion": "kept_state"},
    "an own rule with hidden state": {"criterion": "between"},
    "an own rule that is not deterministic": {"criterion": "whim"},
    "an own optimizer": {"optimizer": "Rows", "prune_epoch": 1},
    "BatchNorm, bf16": {"model": "resnet-20", "epochs": 1, "prune_epoch": 0.5, "precision": "bf16"},
}
NAMES = {
    "by_halves": "criterion",
    "kept_state": "criterion",
    "between": "criterion",
    "whim": "criterion",
    "Rows": "optimizer",
}


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Makes the trial of a kind."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.py").write_text(OWN)

    def make(kind):
        given = {
            field: parts.declare(field, f"own.py:{value}", folder).name if value in NAMES else value
            for field, value in FIELDS[kind].items()
        }
        return trial(**given)

    return make


class Killed(BaseException):
    """A worker dies."""


class Dying(Running):
    """Leaves checkpoints before some steps, and dies before one."""

    def __init__(self, store, saves, dies):
        super().__init__(store, 3600.0, again=True)
        self.saves, self.dies, self.steps = saves, dies, 0

    @property
    def due(self):
        self.steps += 1
        if self.steps > self.dies:
            raise Killed
        return self.steps in self.saves


def attempt(asked, root, store, saves=(), dies=10**9, **shared):
    return run(asked, root, shared=Shared(running=Dying(store, saves, dies), **shared))


def ordeal(asked, root, store, seed=0):
    """The result of a trial that is killed again and again, and how many kills it took."""
    draw, kills = random.Random(seed), 0
    while True:
        dies = draw.randint(3, 14)
        saves = set(draw.sample(range(1, dies + 1), 2))
        try:
            return attempt(asked, root, store, saves, dies), kills
        except Killed:
            kills += 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", set(FIELDS) - {"an own rule that is not deterministic"})
def test_a_trial_that_is_killed_again_and_again_has_the_numbers_of_one_undisturbed(
    kind, asked, root, tmp_path
):  # noqa: F811
    if kind == "an own rule with hidden state":
        pytest.skip("below: it begins again from before its function")
    alone = run(asked(kind), root)
    assert alone.trial["status"] == "ok", alone.trial
    found, kills = ordeal(asked(kind), root, Store(tmp_path))
    assert kills >= 1
    assert numbers(found) == numbers(alone), "steps of the trial's own included"
    assert found.left and not alone.left

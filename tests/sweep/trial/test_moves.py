"""A trial that is killed and goes on from its checkpoint gives the numbers of one that nobody disturbed."""

import random

import pytest
import torch

from sweep import parts, plan
from sweep.store.states import Store
from sweep.trial import run
from sweep.trial.prefixes import Shared
from sweep.trial.running import Running
from tests.sweep.trial import test_prefixes
from tests.sweep.trial.test_prefixes import trial
from tests.sweep.trial.test_run import numbers

root = test_prefixes.root  # the fixture

OWN = """\
import torch
import pruners
from sweep.parts import rule

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
    "new weights": {"prune_epoch": 2, "epochs": 3, "ablation": "reinit", "optimizer": "adamw", "lr": 0.01},
    "filters": {"structure": "filter", "sparsity": 0.5, "prune_epoch": 1, "augment": "flip"},
    "channels, shrunk": {
        "structure": "channel",
        "shrink": True,
        "sparsity": 0.5,
        "prune_epoch": 1,
        "rewind_epoch": 0.5,
    },
    "channels, shrunk within a schedule": {
        "criterion": "magnitude",
        "structure": "channel",
        "shrink": True,
        "sparsity": 0.5,
        "prune_epoch": 1.2,
        "optimizer": "adamw",
        "lr": 0.01,
    },
    "blocks, shrunk": {
        "model": "resnet-20",
        "structure": "block",
        "shrink": True,
        "sparsity": 0.5,
        "epochs": 2,
        "prune_epoch": 0.5,
        "ablation": "reinit",
    },
    "channels": {"structure": "channel", "unit_score": "mean", "sparsity": 0.5, "prune_epoch": 1},
    "blocks": {"structure": "block", "sparsity": 0.4, "prune_epoch": 0.5, "model": "resnet-20", "epochs": 1},
    "levels of channels": {
        "criterion": "imp",
        "structure": "channel",
        "sparsity": 0.36,
        "iterations": 2,
        "rewind_epoch": 0.5,
        "epochs": 1,
    },
    "oracle": {"criterion": "oracle", "structure": "filter", "sparsity": 0.5, "prune_epoch": 1.2},
    "dense": {"sparsity": 0, "epochs": 2, "optimizer": "adam", "lr": 0.01, "lr_schedule": "one-cycle"},
    "levels": {"criterion": "imp", "sparsity": 0.488, "iterations": 3, "rewind_epoch": 0.5, "epochs": 1},
    "a moment by the weights": {
        "prune_when": "stable",
        "prune_threshold": 0.9,
        "prune_epoch": 5,
        "epochs": 6,
        "batch_size": 32,
        "rewind_epoch": 0.5,
    },
    "a moment by the counts": {
        "prune_when": "epi",
        "prune_epoch": 11.5,
        "epochs": 13,
        "batch_size": 64,
        "retrain_epochs": 1,
    },
    "a moment by the masks": {
        "prune_when": "mask-distance",
        "prune_epoch": 8,
        "epochs": 9,
        "batch_size": 64,
        "rewind_epoch": 0,
    },
    "levels, new weights": {
        "criterion": "imp",
        "sparsity": 0.36,
        "iterations": 2,
        "ablation": "reinit",
        "epochs": 1,
    },
    "levels with a second ranking": {
        "criterion": "imp",
        "sparsity": 0.488,
        "iterations": 3,
        "rewind_epoch": 0.5,
        "second": "ap",
        "second_share": 0.4,
        "epochs": 1,
    },
    "levels that choose their counts": {
        "criterion": "sap",
        "iterations": 4,
        "rewind_epoch": 0.3,
        "epochs": 1,
    },
    "levels that end early": {"criterion": "sap", "sparsity": 0.2, "iterations": 9, "epochs": 1},
    **{
        name: {"criterion": name, "update_every": 4, **more}
        for name, more in (
            ("gmp", {"prune_epoch": 0.5}),
            ("set", {}),
            ("rigl", {}),
            ("granet", {}),
            ("acdc", {"prune_epoch": 0.5, "update_every": 3}),
            ("mest", {"parameters": (("criterion.gradient_weight", 0.5),)}),
            ("east", {"scope": "erk"}),
        )
    },
    "along training by SNIP, on batches of its own": {
        "criterion": "gmp",
        "parameters": (("criterion.drop", "snip"),),
        "update_every": 4,
        "score_batch_size": 16,
    },
    "along training by an average of Taylor scores": {
        "criterion": "gmp",
        "parameters": (("criterion.average", 0.8), ("criterion.drop", "taylor-average")),
        "update_every": 4,
    },
    "along training, channels by a draw for each": {
        "criterion": "gmp",
        "structure": "channel",
        "scope": "uniform",
        "parameters": (("criterion.drop", "random"),),
        "sparsity": 0.5,
        "update_every": 3,
        "epochs": 1,
    },
    "along training, unexplored first": {
        "criterion": "set",
        "parameters": (("criterion.grow", "unexplored"),),
        "update_every": 4,
    },
    "along training by momentum, from a sparse start": {
        "criterion": "granet",
        "parameters": (("criterion.grow", "momentum"),),
        "initial_sparsity": 0.5,
        "update_every": 4,
    },
    "from a sparse start": {"initial_sparsity": 0.5, "prune_epoch": 1.5, "rewind_epoch": 0.5},
    "levels from a sparse start": {
        "criterion": "imp",
        "sparsity": 0.744,
        "initial_sparsity": 0.5,
        "iterations": 3,
        "epochs": 1,
    },
    "densities": {"criterion": "set", "update_every": 4, "densities": "0.*=1 *=0.1"},
    "effective weights": {"target": "effective", "sparsity": 0.95, "prune_epoch": 0.5},
    "levels of effective weights": {
        "criterion": "imp",
        "target": "effective",
        "densities": "0.*=1 *=0.5",
        "sparsity": 0.9,
        "iterations": 2,
        "epochs": 1,
    },
    "a pattern": {"criterion": "gmp", "update_every": 4, "scope": "2:4", "sparsity": 0.5},
    "scores": {"criterion": "edge-popup", "model": "resnet-20", "prune_epoch": 0.5, "epochs": 1, "lr": 0.5},
    "scores, signed": {
        "criterion": "signed-supermask",
        "optimizer": "adam",
        "lr": 0.01,
        "weight_decay": 0.01,
    },
    "scores, then weights": {
        "criterion": "hydra",
        "prune_epoch": 0.5,
        "rewind_epoch": 0.2,
        "update_end": 0.6,
    },
    "scores and weights": {"criterion": "bip", "prune_epoch": 1, "retrain_epochs": 1.5, "retrain_lr": 0.1},
    "scores that are weights": {"criterion": "bip-code", "prune_epoch": 0.5, "nesterov": True},
    "an own rule": {"criterion": "by_halves", "epochs": 3},
    "an own rule between steps": {"criterion": "kept_state", "epochs": 3},
    "an own rule with hidden state": {"criterion": "between", "epochs": 3},
    "an own rule that is not deterministic": {"criterion": "whim", "epochs": 3},
    "an own optimizer": {"optimizer": "Rows", "prune_epoch": 1},
    "adapters": {
        "prune_epoch": 1,
        "retrain": "lora",
        "lora_rank": 2,
        "retrain_epochs": 1.3,
        "optimizer": "adamw",
        "lr": 0.01,
    },
    "adapters of a smaller network": {
        "structure": "channel",
        "shrink": True,
        "sparsity": 0.5,
        "prune_epoch": 1,
        "epochs": 2,
        "retrain": "lora",
    },
    "a teacher": {"prune_epoch": 1, "rewind_epoch": 0.5, "epochs": 2, "retrain_loss": "distill"},
    "a teacher of a twin": {
        "prune_epoch": 0.5,
        "epochs": 1,
        "retrain": "lora",
        "retrain_loss": "distill",
        "twin_seed": 7,
    },
    "a twin": {"prune_epoch": 1, "rewind_epoch": 0.5, "epochs": 2, "twin_seed": 7},
    "a twin of parts": {"prune_epoch": 0.5, "retrain": "bn+bias", "retrain_epochs": 1.3, "twin_seed": 7},
    "a twin of levels": {"criterion": "imp", "sparsity": 0.36, "iterations": 2, "epochs": 1, "twin_seed": 7},
    "a dense twin": {"sparsity": 0, "epochs": 2, "prune_epoch": 0.7, "twin_seed": 7, "optimizer": "adam"},
    "updated weights, in the schedule that goes on": {
        "criterion": "magnitude",
        "compensate": "obs",
        "prune_epoch": 1.2,
        "sparsity": 0.5,
        "optimizer": "adamw",
        "lr": 0.01,
    },
    "new biases": {
        "model": "resnet-20",
        "compensate": "bias",
        "scope": "uniform",
        "sparsity": 0.5,
        "prune_epoch": 0.5,
        "epochs": 2,
        "lr": 0.02,
    },
    "new biases alone, in a schedule of their own": {
        "model": "resnet-20",
        "compensate": "bias",
        "prune_epoch": 0.5,
        "epochs": 1,
        "retrain": "bias",
        "retrain_epochs": 1.3,
    },
    "the own mask of SparseGPT, a twin": {
        "criterion": "obs",
        "scope": "erk",
        "compensate": "obs",
        "prune_epoch": 1,
        "sparsity": 0.5,
        "twin_seed": 5,
    },
    "behind pruned blocks": {"score_order": "blockwise", "scope": "erk", "prune_epoch": 1, "epochs": 2},
    "BatchNorm, bf16": {"model": "resnet-20", "epochs": 1, "prune_epoch": 0.5, "precision": "bf16"},
}
# Kinds of which no checkpoint after the dense training leads on.
BEGIN_AGAIN = ("an own rule with hidden state", "an own rule that is not deterministic")
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
        return trial(**{"epochs": 2} | given)

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


def attempt(asked, root, own, at=(), dies=10**9, **shared):
    return run(asked, root, shared=Shared(running=Dying(own, at, dies), **shared), masks=True)


def ordeal(asked, root, store, seed=0):
    """The result of a trial that is killed again and again, and how many kills it took."""
    draw, kills = random.Random(seed), 0
    while kills < 60:
        dies = draw.randint(3, 14)
        saves = set(draw.sample(range(1, dies + 1), 2))
        try:
            return attempt(asked, root, store, saves, dies), kills
        except Killed:
            kills += 1
    raise AssertionError("it begins again each time")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in FIELDS if kind not in BEGIN_AGAIN])
def test_a_trial_that_is_killed_again_and_again_has_the_numbers_of_one_undisturbed(
    kind, asked, root, tmp_path
):
    alone = run(asked(kind), root, masks=True)
    assert alone.masks and alone.trial["status"] == "ok", alone.trial
    found, kills = ordeal(asked(kind), root, Store(tmp_path))
    assert kills >= 1
    assert numbers(found) == numbers(alone), "steps of the trial's own included"
    assert found.left and not alone.left


def late(asked, root, store, dies=25):
    """Kill a trial late, after a checkpoint before each of its steps."""
    with pytest.raises(Killed):
        attempt(asked, root, store, range(1, dies), dies)


class Counting(Running):
    """Counts the steps of this try."""

    def __init__(self, store):
        super().__init__(store, 3600.0, again=True)
        self.steps = 0

    @property
    def due(self):
        self.steps += 1
        return False


def second(asked, root, store):
    """The result of the next try of a trial, and the steps that it trained."""
    running = Counting(store)
    return run(asked, root, shared=Shared(running=running)), running.steps


@pytest.mark.slow
def test_a_function_between_steps_is_gone_through_again_from_before_it(asked, root, tmp_path):
    """Nobody knows what it keeps from step to step: the last checkpoint is that of the dense training."""
    kind = asked("an own rule with hidden state")
    late(kind, root, Store(tmp_path))
    found, steps = second(kind, root, Store(tmp_path))
    assert numbers(found) == numbers(run(kind, root))
    assert steps == 30 - 9


@pytest.mark.slow
def test_a_rule_that_does_something_else_the_next_time_begins_again(asked, root, tmp_path):
    """Its weights are of the masks that it chose at first: it must not go on from them with others."""
    kind = asked("an own rule that is not deterministic")
    late(kind, root, Store(tmp_path))
    found, steps = second(kind, root, Store(tmp_path))
    assert (found.trial["status"], steps, found.trial["trained_steps"]) == ("ok", 30, 30)


@pytest.mark.slow
def test_weights_that_would_fill_the_disk_are_not_remembered(asked, root, tmp_path, monkeypatch):
    monkeypatch.setattr("sweep.trial.moves._REMEMBERED", 0)
    kind = asked("an own rule")
    late(kind, root, Store(tmp_path))
    found, steps = second(kind, root, Store(tmp_path))
    assert numbers(found) == numbers(run(kind, root))
    assert steps == 30 - 9, "from within the first training"


def damaged(path):
    """Files in the place of a checkpoint: kind -> how it is made."""
    state = torch.load(path)
    weights, first = state["training"]["model"], next(iter(state["training"]["model"]))

    def training(**changes):
        return {**state, "training": {**state["training"], **changes}}

    bad = {
        "other content": {"a": 1},
        "a list": [1],
        "of another trial": {**state, "key": "0123456789abcdef-0123456789abcdef"},
        "another rule": {**state, "made": "0"},
        "another network": training(model={**weights, first: torch.zeros(3, 3)}),
        "no optimizer": training(optimizer={"state": {}, "param_groups": []}),
        "moments of another network": training(
            optimizer={**state["training"]["optimizer"], "state": {0: {"momentum_buffer": torch.zeros(9)}}}
        ),
        "masks of other weights": {**state, "masks": {first: torch.ones(2, dtype=torch.bool)}},
        "masks of no weights": {**state, "masks": {"x": torch.ones(2, dtype=torch.bool)}},
        "curves of text": {**state, "recorder": {**state["recorder"], "curves": ["x"]}},
        "no recorder": {name: value for name, value in state.items() if name != "recorder"},
        "trainings that are none": {**state, "ended": 7},
        "an ended training that is none": {**state, "ended": [7]},
        "too many trainings": {**state, "ended": 9 * state["ended"]},
        "time as text": {**state, "seconds": "1"},
        "when it began without a zone": {**state, "started": "2026-01-01"},
    }
    whole = path.read_bytes()
    yield "cut", lambda: path.write_bytes(whole[:-200])
    yield "empty", lambda: path.write_bytes(b"")
    yield "not of torch", lambda: path.write_bytes(b"PAR1" * 99)
    for kind, content in bad.items():
        yield kind, lambda content=content: put(path, content)


def put(path, content):
    """Write a file in the place of a checkpoint, with the seal of a checkpoint where it can have one."""
    if isinstance(content, dict):
        Store(path.parent).save(path.stem.removesuffix("-cpu"), content)
    else:
        torch.save(content, path)


@pytest.mark.slow
def test_a_damaged_or_foreign_checkpoint_costs_time_only(root, tmp_path):
    asked, store = trial(prune_epoch=1, rewind_epoch=0.5, epochs=2), Store(tmp_path)
    alone = numbers(run(asked, root))
    late(asked, root, store, 18)
    [path] = tmp_path.glob("*.pt")
    assert path.name.startswith(f"{asked.id}-")
    for kind, damage in damaged(path):
        damage()
        found, steps = second(asked, root, store)
        assert (steps, numbers(found)) == (25, alone), kind
        assert not path.exists(), f"{kind}: it is removed"


@pytest.mark.slow
def test_states_that_trials_share_and_checkpoints_go_together(root, tmp_path):
    """The killed trial makes states for the others, or goes on from theirs: all numbers are those without."""
    trials = [trial(sparsity=0), *(trial(prune_epoch=t, rewind_epoch=0.5) for t in (1, 1.5))]
    trials += [trial(criterion="imp", sparsity=s, iterations=n, epochs=1) for s, n in ((0.2, 1), (0.488, 3))]
    trials += [trial(criterion="sap", iterations=n, epochs=1) for n in (1, 3)]
    alone = [run(each, root, masks=True) for each in trials]
    states, own = Store(tmp_path / "shared"), Store(tmp_path / "own")
    found = {}
    for job in (job for pack in plan.packs(trials, 1) for job in pack.jobs):
        shared = {"store": states, "path": job.path, "saves": job.saves}
        with pytest.raises(Killed):
            attempt(job.trial, root, own, {4}, 6, **shared)
        found[job.trial.id] = attempt(job.trial, root, own, **shared)
    for each, expected in zip(trials, alone, strict=True):
        one, other = numbers(found[each.id]), numbers(expected)
        one[0].pop("trained_steps"), other[0].pop("trained_steps")
        assert one == other
    assert sum(r.trial["trained_steps"] for r in found.values()) < sum(
        r.trial["trained_steps"] for r in alone
    )


@pytest.mark.slow
def test_a_trial_that_diverges_or_is_stopped_does_so_after_a_checkpoint_too(root, tmp_path):
    wild = trial(model="lenet-300-100", lr=30.0, momentum=0.0, prune_epoch=0.8)
    late(wild, root, Store(tmp_path), 6)
    found, steps = second(wild, root, Store(tmp_path))
    assert found.trial["status"] == "diverged" and steps < found.trial["trained_steps"]
    assert repr(numbers(found)) == repr(numbers(run(wild, root)))

    calls = []

    def poor(epoch, accuracy, last):
        calls.append((epoch, last))
        return epoch == 2

    asked = trial(prune_epoch=0)
    late(asked, root, Store(tmp_path), 15)
    stopped = run(asked, root, shared=Shared(running=Counting(Store(tmp_path))), after_epoch=poor)
    assert stopped.trial["status"] == "stopped" and calls == [(2, False)], (
        "it was asked about the first before"
    )


@pytest.mark.slow
def test_seconds_and_the_beginning_of_a_trial_are_those_of_all_that_counts(root, tmp_path):
    asked = trial(prune_epoch=1, epochs=2)
    late(asked, root, Store(tmp_path), 15)
    [path] = tmp_path.glob("*.pt")
    state = torch.load(path)
    state["seconds"] += 1000
    state["recorder"]["_seconds"] |= {"train_seconds": 900.0}
    put(path, state)
    found, _ = second(asked, root, Store(tmp_path))
    row = found.trial
    assert 1000 < row["wall_seconds"] < 1100 and 900 < row["train_seconds"] < 1000
    assert row["started_at"].isoformat() == state["started"]
    assert 0 < row["score_seconds"] < 100


@pytest.mark.slow
def test_a_short_trial_leaves_nothing_and_none_without_an_interval(root, tmp_path):
    asked = trial(epochs=1)
    for every in (600.0, float("inf")):
        result = run(asked, root, shared=Shared(running=Running(Store(tmp_path / "running"), every)))
        assert not result.left and not (tmp_path / "running").exists()
    running = Running(Store(tmp_path / "running"), 1e-9)
    assert run(asked, root, shared=Shared(running=running)).left
    assert [path.suffix for path in (tmp_path / "running").iterdir()] == [".pt"]


def test_a_disk_that_takes_no_checkpoint_loses_no_trial(root, tmp_path):
    (tmp_path / "file").write_text("a file in the place of the folder")
    running = Running(Store(tmp_path / "file"), 1e-9)
    assert run(trial(epochs=1), root, shared=Shared(running=running)).trial["status"] == "ok"

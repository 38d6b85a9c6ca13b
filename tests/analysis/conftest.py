import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest

from sweep.store import launches, results

SPARSITIES = (0.8, 0.9, 0.95, 0.98, 0.99)
# Test accuracy: SNIP passes random erk between .95 and .98, where the differences are +.02 and -.02.
ACCURACY = {
    ("random", "global"): (0.9, 0.8, 0.7, 0.3, 0.1),
    ("random", "erk"): (0.95, 0.94, 0.93, 0.92, 0.9),
    ("snip", "global"): (0.97, 0.96, 0.95, 0.9, 0.5),
}


def trial(name, **fields):
    """A row of `trials` whose config says what its columns say."""
    config = {
        "dataset": "digits", "model": "conv-5", "epochs": 2, "prune_epoch": 0, "criterion": "snip", "scope": "global",
        "iterations": 1, "sparsity": 0.9, "seed": 0, "lr": 0.1, "score_batches": 1,
        "split_seed": 0,
    }  # fmt: skip
    config |= {key: value for key, value in fields.items() if key in config}
    columns = {
        key: value for key, value in config.items() if key not in ("lr", "score_batches", "split_seed")
    }
    outcome = {key: value for key, value in fields.items() if key not in config}
    return {
        "trial_id": name, "study": "made", "status": "ok", "finished_at": datetime(2026, 1, 1, tzinfo=UTC),
        **columns, "config": json.dumps(config, sort_keys=True, separators=(",", ":")), **outcome,
    }  # fmt: skip


def write(folder):
    """Results of a study made up so that the answers are known: three seeds, ±0.01 around the accuracy.

    SNIP has a little noise of its own, so that its differences from the others spread over the seeds.
    """
    own = {"snip": (0.0005, -0.001, 0.0005)}
    trials = [
        trial(
            f"{criterion}-{scope}-{sparsity}-{seed}",
            criterion=criterion, scope=scope, sparsity=sparsity, seed=seed, test_accuracy=accuracy + (seed - 1) / 100 + own.get(criterion, (0, 0, 0))[seed],
            val_accuracy=accuracy, pre_train_loss=1 - accuracy, density=1 - sparsity, wall_seconds=6.0, device="cpu",
        )
        for (criterion, scope), accuracies in ACCURACY.items()
        for (sparsity, accuracy), seed in itertools.product(zip(SPARSITIES, accuracies, strict=True), range(3))
    ]  # fmt: skip
    results.write(folder, trials, [[]], [[]])
    launches.note_launch(folder, "made", "", {})
    return folder


@pytest.fixture
def made(tmp_path):
    """The made results, for one test."""
    return write(tmp_path / "results" / "made")


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """The made results, for tests that add nothing and write nothing beside them."""
    return write(tmp_path_factory.mktemp("kept") / "made")


@pytest.fixture
def add(made):
    """Adds trials to the made results."""

    def write(*trials):
        results.write(made, trials, [[]], [[]])

    return write


LATER = timedelta(hours=1)

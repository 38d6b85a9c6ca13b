"""Results of a small study of many rules, to run its trials again."""

from datetime import UTC, datetime

import pytest

from sweep.store import launches, results
from sweep.study import load
from sweep.trial import run

STUDY = """\
name: small
dataset: digits
model: lenet-300-100
epochs: 2
batch_size: 64
lr: 0.2
seed: [0, 1]
sparsity: 0.9
blocks:
  - criterion: [random, magnitude, snip]
    prune_epoch: [0, 1]
  - {criterion: force, iterations: 3}
  - {criterion: imp, iterations: 2, epochs: 1}
  - {criterion: [rigl, gmp], update_every: 5}
  - {criterion: [signed-supermask, bip], prune_epoch: 0.5, lr: 0.1}
  - {criterion: magnitude, structure: filter, model: conv-5}
  - {criterion: snip, model: resnet-20, epochs: 1}
"""
LAUNCHED = datetime(2026, 11, 26, 5, 3, 1, tzinfo=UTC)


def record(root, study, given):
    """Write results of a launch of a study under a root."""
    rows = [each.trial | {"study": study, "launched_at": LAUNCHED} for each in given]
    folder = root / study
    others = ([getattr(each, table) for each in given] for table in ("curves", "layers", "metrics", "masks"))
    results.write(folder, rows, *others)
    launches.note_launch(
        folder, study, "", {"started_at": LAUNCHED.isoformat(), "versions": {"torch": "2.0.0"}}
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The root of the results of the study, which keeps weights, and the row of each of its trials."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.yaml").write_text(STUDY)
    trials = load(folder / "small.yaml").trials()
    given = [run(each, masks=True, keeps=folder / "results" / "small") for each in trials]
    record(folder / "results", "small", given)
    return folder / "results", [each.trial for each in given]

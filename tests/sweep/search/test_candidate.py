"""A schedule of a search, with its results."""

import pytest
from scipy import stats

from sweep.config import Config
from sweep.search.candidate import Candidate


@pytest.mark.parametrize("metric", [None, "accuracy", "r2"])
def test_the_interval_of_an_accuracy_alone_is_cut(metric):
    config = Config(dataset="digits", model="conv-5", epochs=1, criterion="snip", sparsity=0.9)
    candidate, values = Candidate({}, config), [-0.4, 0.1, 0.9]
    for seed, value in enumerate(values):
        candidate.take({"trial_id": str(seed), "status": "ok", "headline": metric, "val_accuracy": value})
    found = candidate.interval("val_accuracy")
    whole = stats.t.interval(0.95, 2, sum(values) / 3, stats.sem(values))
    assert (found.low, found.high) == ((0, 1) if metric != "r2" else pytest.approx(whole))

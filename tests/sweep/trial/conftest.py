"""Shared by the tests of trials."""

from unittest import mock

import pytest


@pytest.fixture(scope="module", autouse=True)
def latencies_of_few_passes():
    """Measure the latency of a smaller network in five passes, not in a third of a second: no test compares it."""
    with mock.patch("sweep.trial.evaluation._ENOUGH", 0.0):
        yield

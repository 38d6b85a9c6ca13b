"""One Ray cluster for the launches of many tests: to start one takes longer than most studies here."""

import pytest

from tests.integration import warm


@pytest.fixture(scope="session")
def ray_head():
    """The address of a cluster of one node with two cores, which outlasts the launches that use it."""
    with warm.cluster(2) as cluster:
        yield cluster.address


@pytest.fixture
def on_cluster(ray_head, monkeypatch):
    """Launches of the test run on that cluster, instead of starting one each."""
    monkeypatch.setenv("RAY_ADDRESS", ray_head)

"""One Ray cluster for the launches of many tests: to start one takes longer than most studies here."""

import pytest

from tests.integration import slurm as slurm_servers
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


@pytest.fixture(scope="session")
def slurm_of_all_tests():
    """Servers of SLURM: to start them takes longer than most jobs here."""
    slurm_servers.need()
    with slurm_servers.servers() as slurm:
        yield slurm


@pytest.fixture
def slurm(slurm_of_all_tests):
    """A SLURM of two idle nodes with two CPUs each, without jobs (`tests.integration.slurm.Slurm`)."""
    slurm_of_all_tests.clear()
    return slurm_of_all_tests

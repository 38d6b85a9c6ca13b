"""One Ray cluster for the launches of many tests: to start one takes longer than most studies here."""

import signal
import sys
from unittest import mock

import pytest

from tests.integration import slurm as slurm_servers
from tests.integration import warm


@pytest.fixture(scope="session")
def ray_head():
    """The address of a cluster of one node with two cores, which outlasts the launches that use it."""
    from ray.cluster_utils import Cluster

    before = signal.getsignal(signal.SIGTERM)
    with mock.patch.object(sys, "executable", warm.python()):
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    # Ray's handler would end the cluster with any process that is forked from this one.
    signal.signal(signal.SIGTERM, before)
    yield cluster.address
    cluster.shutdown()


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

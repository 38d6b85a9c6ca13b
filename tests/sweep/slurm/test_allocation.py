"""What an allocation says of its nodes, and how Ray is started on them."""

import socket
from pathlib import Path

from sweep.engine import provenance
from sweep.slurm.allocation import PORTS, _base_port, cpus_per_node
from sweep.slurm.node import PORTS as NAMES
from sweep.slurm.node import command


def test_cpus_of_each_node_from_the_shorthand():
    assert cpus_per_node("2(x3),1") == [2, 2, 2, 1]
    assert cpus_per_node("8") == [8] and cpus_per_node("") == []


def test_ports_of_jobs_lie_apart_below_those_that_linux_gives_out_and_are_free():
    bases = [_base_port(str(job), 4) for job in range(1000, 1040)]
    assert len(set(bases)) == 40 and all(12_000 <= base < 32_000 - 4 * PORTS for base in bases)
    with socket.socket() as taken:
        taken.bind(("", bases[0] + 1))
        assert _base_port("1000", 4) != bases[0]
    assert len(NAMES) <= PORTS


def test_every_node_has_ports_of_its_own_and_only_the_head_those_of_the_cluster():
    head = command(["10.0.0.1", "8", "13000"], Path("/tmp/x"))
    worker = command(["10.0.0.2", "8", "13010", "10.0.0.1:13000"], Path("/tmp/y"))

    def ports(words):
        found = [word.partition("=") for word in words if word.endswith(tuple("0123456789"))]
        return {name: int(value) for name, _, value in found if name.endswith("-port")}

    assert ports(head)["--port"] == 13000 and "--head" in head and "--include-dashboard=false" in head
    assert "--address=10.0.0.1:13000" in worker and "--port" not in ports(worker)
    fixed = [port for words in (head, worker) for port in ports(words).values() if port]
    assert len(set(fixed)) == len(fixed) == len(NAMES) * 2 - 2
    assert "ray stop" not in " ".join(head + worker)


def test_a_launch_in_a_job_uses_the_processors_of_the_job_alone(monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "1")
    assert provenance.cores() == 1
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "9999")
    many = provenance.cores()
    monkeypatch.delenv("SLURM_CPUS_ON_NODE")
    assert many == provenance.cores()

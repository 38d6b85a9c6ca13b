"""One Ray cluster over the nodes of an allocation: a step of the job on each node."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from sweep.errors import BadInput
from sweep.slurm.allocation import Node
from sweep.slurm.node import READY

# Seconds that a node may take to start, and to end: imports from a network drive take long.
_START, _END = 300.0, 20.0
# Variables of Ray that would lead to another cluster, or to another token than that of this one.
OF_OTHER_CLUSTERS = ("RAY_ADDRESS", "RAY_TMPDIR", "RAY_AUTH_TOKEN")
# Of SLURM's variables, what srun needs. Others would be options of its step, such as the GPUs of all nodes.
_FOR_SRUN = ("SLURM_CONF", "SLURM_JOB_ID", "SLURM_CLUSTERS")


class _Step:
    """Ray on one node."""

    def __init__(self, node: Node, token: str, head: Node | None) -> None:
        """Start it.

        Args:
            head: of the cluster; None: this node is the head.
        """
        self.node, self._last_line, self._started = node, "its step ended", False
        self._heard = threading.Event()  # set once the node is ready, or will never be
        words = [node.address, str(node.cpus), str(node.port)]
        environment = {
            key: value
            for key, value in os.environ.items()
            if key in _FOR_SRUN or not (key.startswith("SLURM_") or key in OF_OTHER_CLUSTERS)
        }
        self.process = subprocess.Popen(
            [
                *("srun", "--overlap", "--export=ALL", "--cpu-bind=none", "--mpi=none"),
                *("--nodes=1", "--ntasks=1", f"--nodelist={node.name}"),
                *(sys.executable, "-u", "-m", "sweep.slurm.node", *words),
                *([f"{head.address}:{head.port}"] if head else []),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment | {"PYTHONUNBUFFERED": "1"},
            encoding="utf-8",
            errors="replace",
            # Ctrl-C and signals for this process are not for its steps.
            start_new_session=True,
        )
        self.tell(token)
        threading.Thread(target=self._read, daemon=True).start()

    def tell(self, token: str) -> None:
        """Send the token, which is the first line that the node reads."""
        assert self.process.stdin
        with suppress(OSError):  # srun has ended
            self.process.stdin.write(f"{token}\n")
            self.process.stdin.flush()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.strip() and not line.startswith("srun: "):
                self._last_line = line.strip()
            if line.strip() == READY:
                self._started = True
                self._heard.set()
        self._heard.set()

    @property
    def lost(self) -> bool:
        """Whether Ray has ended on this node."""
        return self.process.poll() is not None

    def wait(self) -> str:
        """Wait until the node is ready; why it is not, or nothing."""
        if not self._heard.wait(_START):
            return f"not ready within {_START:.0f} s"
        return "" if self._started else self._last_line

    def end(self) -> None:
        """Tell the node to end."""
        assert self.process.stdin
        with suppress(OSError):
            self.process.stdin.close()


class Cluster:
    """A Ray cluster, from `start` to `end`.

    Attributes:
        address: of the cluster.
        environment: what a program needs around it to use the cluster.
    """

    def __init__(self, nodes: Sequence[Node], say: Callable[[str], None]) -> None:
        self._nodes, self._say = nodes, say
        self._steps: list[_Step] = []
        self._lost: set[str] = set()
        self._folder = Path(tempfile.mkdtemp(prefix="secateur-", dir="/tmp"))
        self.address = f"{nodes[0].address}:{nodes[0].port}"
        self._token = secrets.token_hex(32)
        file = self._folder / "token"
        file.touch(0o600)
        file.write_text(self._token, encoding="ascii")
        self.environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(file)}

    def start(self) -> None:
        """Start Ray on the first node, then on the others. A node that does not start is done without.

        Raises:
            BadInput: Ray does not start on the first node.
        """
        head, *others = self._nodes
        self._steps = [_Step(head, self._token, None)]
        if why := self._steps[0].wait():
            raise BadInput(f"no Ray cluster starts on node {head.name}: {why}: submit the job again")
        self._steps += [_Step(node, self._token, head) for node in others]
        for step in self._steps[1:]:
            if why := step.wait():
                self._lost.add(step.node.name)
                self._say(f"node {step.node.name}: Ray does not start ({why}): the study runs without it")
        self._say(f"a Ray cluster of {len(self._steps) - len(self._lost)} nodes at {self.address}")

    def watch(self) -> bool:
        """Say which nodes have been lost since the last call; whether the first node is one of them."""
        for step in self._steps:
            if step.lost and step.node.name not in self._lost:
                self._lost.add(step.node.name)
                self._say(f"node {step.node.name} is lost: its trials begin again elsewhere")
        return bool(self._steps) and self._steps[0].lost

    def end(self) -> None:
        """End Ray on all nodes. Only these steps end: other work on the nodes goes on."""
        for step in self._steps:
            step.end()
        for step in self._steps:
            try:
                step.process.wait(_END)
            except subprocess.TimeoutExpired:
                step.process.terminate()  # SLURM kills what is left of the step
                step.process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

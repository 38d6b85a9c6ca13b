"""`python -m sweep.slurm.node ADDRESS CPUS PORT [HEAD]`: Ray on one node, until standard input ends.

The first line of standard input is the cluster's token: a command line or a shared folder would show it.
When standard input ends, or the process is told to end, Ray ends and leaves nothing behind.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

# What each of a node's ports is for; the first is that of the cluster itself, on its head.
PORTS = (
    "port",
    "node-manager-port",
    "object-manager-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "runtime-env-agent-port",
    "metrics-export-port",
    "ray-client-server-port",
)
# The server of Ray's clients runs where gRPC is installed, and where it is not `ray start` refuses its port.
_CLIENTS = "ray-client-server-port"
_OF_HEAD = ("port", _CLIENTS)
# Bytes of a node for what workers hand over, which are texts and results. Ray would take a third of the
# machine's memory, of which the job may have little.
_OBJECTS = 200_000_000
# Seconds that Ray may take to end: less than SLURM waits before it kills.
_PATIENCE = 10
# What this program says when the node belongs to the cluster, and what `ray start` says then.
READY, _UP = "the node is ready", "Ray runtime started"
# How often Ray is started: on a busy machine it gives up after half a minute.
_TRIES = 3


def command(words: Sequence[str], folder: Path) -> list[str]:
    """The command that starts Ray.

    Args:
        words: the address of the node, its CPUs, the first of its ports; unless the node is the head of the
            cluster, address and port of the head.
        folder: for Ray's sockets and logs; a short one, as names of sockets have 107 bytes at most.
    """
    address, cpus, port, *rest = words
    head = rest[0] if rest else ""
    ports = [
        f"--{name}={int(port) + number}"
        for number, name in enumerate(PORTS)
        if (not head or name not in _OF_HEAD) and (name != _CLIENTS or find_spec("grpc"))
    ]
    return [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"),
        *([f"--address={head}"] if head else ["--head", "--include-dashboard=false"]),
        f"--node-ip-address={address}",
        f"--num-cpus={cpus}",
        f"--object-store-memory={_OBJECTS}",
        f"--temp-dir={folder / 'ray'}",
        *ports,
        # Workers take any ports that are free.
        *("--min-worker-port=0", "--max-worker-port=0"),
    ]


class _Ray:
    """Ray on this node, which is started again if it does not come up."""

    def __init__(self, words: Sequence[str], token: str) -> None:
        self.words, self.token = words, token
        self.ending = threading.Event()  # Ray is to end
        self.process: subprocess.Popen[str] | None = None

    def run(self) -> int:
        """Run Ray to its end; its exit code, 0 if it was told to end."""
        for _ in range(_TRIES):
            # Not in TMPDIR, which may be deep or another machine's. A new folder: the old one may be in use.
            folder = Path(tempfile.mkdtemp(prefix="secateur-", dir="/tmp"))
            try:
                came_up, code = self._run(folder)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            if came_up or self.ending.is_set():
                break
        return 0 if self.ending.is_set() else code or 1

    def _run(self, folder: Path) -> tuple[bool, int]:
        """Run Ray once; whether it came up, and its exit code."""
        token, came_up = folder / "token", False
        token.touch(0o600)
        token.write_text(self.token, encoding="ascii")
        self.process = subprocess.Popen(
            command(self.words, folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)},
            encoding="utf-8",
            errors="replace",
        )
        if self.ending.is_set():
            self.process.terminate()
        for line in self.process.stdout or ():
            print(line, end="", flush=True)
            if _UP in line and not came_up:
                came_up = True
                print(READY, flush=True)
        return came_up, self.process.wait()

    def end(self, *_: object) -> None:
        """Tell Ray to end, and kill it if it takes long."""
        self.ending.set()
        if self.process:
            self.process.terminate()
            threading.Timer(_PATIENCE, self.process.kill).start()


def main(*words: str) -> int:
    """Run Ray until standard input ends; returns its exit code, 0 if it was told to end."""
    ray = _Ray(words, sys.stdin.readline().strip())
    signal.signal(signal.SIGTERM, ray.end)

    def listen() -> None:
        sys.stdin.read()
        ray.end()

    threading.Thread(target=listen, daemon=True).start()
    code = ray.run()
    sys.stdout.flush()
    os._exit(code)  # without waiting for the timer


if __name__ == "__main__":
    main(*sys.argv[1:])

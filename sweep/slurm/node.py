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
from pathlib import Path
from types import FrameType

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
_OF_HEAD = ("port", "ray-client-server-port")
# Bytes of a node for what workers hand over, which are texts and results. Ray would take a third of the
# machine's memory, of which the job may have little.
_OBJECTS = 200_000_000
# Seconds that Ray may take to end: less than SLURM waits before it kills.
_PATIENCE = 10


def command(address: str, cpus: str, port: str, head: str, folder: Path) -> list[str]:
    """The command that starts Ray.

    Args:
        address: of the node.
        port: the first of the node's ports.
        head: address and port of the cluster; empty: this node is its head.
        folder: for Ray's sockets and logs; a short one, as names of sockets have 107 bytes at most.
    """
    ports = [
        f"--{name}={int(port) + number}"
        for number, name in enumerate(PORTS)
        if not head or name not in _OF_HEAD
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


def main(address: str, cpus: str, port: str, head: str = "") -> int:
    """Run Ray, and end it with standard input; returns Ray's exit code, or 0 if Ray was to end."""
    # Not TMPDIR, which may be deep or another machine's.
    folder = Path(tempfile.mkdtemp(prefix="secateur-", dir="/tmp"))
    try:
        token = folder / "token"
        token.touch(0o600)
        token.write_text(sys.stdin.readline().strip())
        ray = subprocess.Popen(
            command(address, cpus, port, head, folder),
            stdin=subprocess.DEVNULL,
            env=os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)},
        )
        asked = threading.Event()

        def end(*_: int | FrameType | None) -> None:
            asked.set()
            ray.terminate()

        signal.signal(signal.SIGTERM, end)

        def listen() -> None:
            sys.stdin.read()
            end()

        threading.Thread(target=listen, daemon=True).start()
        while True:
            try:
                code = ray.wait(None if not asked.is_set() else _PATIENCE)
            except subprocess.TimeoutExpired:
                ray.kill()
                continue
            return 0 if asked.is_set() else code or 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

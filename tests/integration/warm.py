"""Ray's Python processes without the seconds that their imports take: forks of processes that have done them.

Ray starts each worker, the agents of each node, the dashboard and the monitors as programs. Here such a program asks a
server for a fork of itself, which runs Ray's script as the program would have: same words, environment, streams and
folder. The fork ends when its program does, and the program when its fork does.
"""

import array
import atexit
import contextlib
import gc
import json
import os
import pkgutil
import runpy
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

# The scripts of each server, and what it imports for them.
_SCRIPTS = {
    "workers": ("setup_worker.py", "default_worker.py"),
    "agents": (
        "/dashboard/agent.py",
        "/dashboard/dashboard.py",
        "/runtime_env/agent/main.py",
        "/monitor.py",
        "/log_monitor.py",
    ),
}
_PRELOAD = {
    # Not Ray itself: its library reads the job of a worker from the environment when it is loaded.
    "workers": (
        "sweep.trial",
        "torch._dynamo",
        "pandas",
        "pyarrow.fs",
        "pyarrow.parquet",
        "pydantic",
        "rich.live",
        "rich.table",
        "google.protobuf",
        "tqdm",
        "requests",
        "fsspec",
        "jsonschema",
    ),
    "agents": (
        "ray.dashboard.agent",
        "ray.dashboard.dashboard",
        "ray.dashboard.head",
        "ray._private.runtime_env.agent.main",
        "ray._private.log_monitor",
        "ray.autoscaler._private.monitor",
        "ray.autoscaler.v2.monitor",
    ),
}

# Ray 2.50 cannot give a fork the name by which tests find a worker: its processes begin as everywhere.
_NAMES_FORKS = tuple(map(int, version("ray").split(".")[:2])) >= (2, 60)

# An agent then sees by a pipe that its node has ended. It would else look for its node among its own parents.
os.environ["RAY_enable_pipe_based_agent_to_parent_health_check"] = "1"  # noqa: SIM112

# The program: it hands itself over and waits for the end of its fork. What is no script of Ray's it leaves to Python.
_PROGRAM = """\
#!{python} -IS
import array, json, os, socket, sys
words = [word for word in sys.argv[1:] if word != "-u"]
address = next((at for at, ends in {servers!r} if words and words[0].endswith(ends)), None)
if address is None:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as server:
    server.connect(address)
    asks = json.dumps([os.getpid(), os.getcwd(), words, dict(os.environ)]).encode()
    streams = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
    server.sendmsg([len(asks).to_bytes(4, "little")], streams)
    server.sendall(asks)
    server.recv(1)
"""


@cache
def _folder() -> Path:
    """Where the program and the sockets of its servers are."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _server(kind: str) -> int:
    """Start the server of a kind of scripts: its process id."""
    address = str(_folder() / kind)
    with socket.create_server(address, family=socket.AF_UNIX, backlog=64) as listener:
        command = [sys.executable, "-m", __name__, kind, str(listener.fileno()), str(_folder())]
        server = subprocess.Popen(
            command, pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL, cwd=Path(__file__).parents[2]
        )
    atexit.register(server.wait)
    atexit.register(server.kill)
    return server.pid


@cache
def python() -> str:
    """The program that Ray is to start in place of Python."""
    if not _NAMES_FORKS:
        return sys.executable
    for kind in _SCRIPTS:
        _server(kind)
    servers = [(str(_folder() / kind), ends) for kind, ends in _SCRIPTS.items()]
    file = _folder() / "python"
    file.write_text(_PROGRAM.format(python=sys.executable, servers=servers))
    file.chmod(0o755)
    return str(file)


@contextmanager
def starting() -> Iterator[None]:
    """All that Ray starts from this process meanwhile begins with its imports done."""
    before = signal.getsignal(signal.SIGTERM)
    with mock.patch.object(sys, "executable", python()):
        yield
    # Ray's handler would end the cluster with any process that is forked from this one.
    signal.signal(signal.SIGTERM, before)


@contextmanager
def cluster(cpus: int) -> Iterator[Any]:
    """A cluster whose head has these cores, and which outlasts the launches that use it."""
    from ray.cluster_utils import Cluster

    with starting():
        started = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus, "include_dashboard": False})
    try:
        yield started
    finally:
        started.shutdown()


def parent(pid: int, of_system: int) -> int:
    """The parent of a process: the program that asked for it, where it is a fork, else what the system says."""
    if _NAMES_FORKS and of_system in map(_server, _SCRIPTS):
        return int((_folder() / f"{pid}.program").read_text())
    return of_system


def serve(kind: str, listener: socket.socket, folder: Path) -> None:
    """Fork for each program that asks; `folder` gets a file for each fork, with its program's process id."""
    for module in _PRELOAD[kind]:
        import_module(module)
    if kind == "agents":  # the dashboard's agent looks for its parts in each module of this package
        [where] = find_spec("ray.dashboard.modules").submodule_search_locations
        for module in pkgutil.walk_packages([where], "ray.dashboard.modules."):
            import_module(module.name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # forks that have ended leave nothing
    while True:
        connection, _ = listener.accept()
        try:
            size, ancillary, *_ = connection.recvmsg(4, socket.CMSG_SPACE(3 * 4))
            with connection.makefile("rb") as file:
                asks = json.loads(file.read(int.from_bytes(size, "little")))
        except (OSError, ValueError):  # the program has been killed
            connection.close()
            continue
        streams = array.array("i", ancillary[0][2])
        if pid := os.fork():
            (folder / f"{pid}.program").write_text(str(asks[0]))
            connection.close()
            for stream in streams:
                os.close(stream)
            continue
        listener.close()
        _become(connection, streams, *asks[1:])


def _become(connection: socket.socket, streams, folder: str, words: list[str], environment: dict) -> None:
    """Run a script as a program of its own would."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(environment)
    if library := sys.modules.get("ray._raylet"):
        library.Config.initialize(
            ""
        )  # Ray's settings are those of this environment, the token's mode among them
    os.chdir(folder)
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    code = 0
    try:
        _script(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _end_with(connection: socket.socket) -> None:
    """End this process when its program has ended."""
    with contextlib.suppress(OSError):
        connection.recv(1)
    os._exit(1)


def _script(words: list[str]) -> None:
    """Run a script; where it goes on as another script of Python, go on in this process."""
    execute = os.execvp

    def go_on(file: str, args: list[str]) -> None:
        start, python, *script = shlex.split(args[-1])
        if (file, start, python) != ("bash", "exec", sys.executable):
            execute(file, args)
        os.execvp = execute
        _script(script)
        raise SystemExit(0)

    os.execvp = go_on
    sys.argv = words
    sys.path[0] = str(Path(words[0]).parent)
    runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])), Path(sys.argv[3]))

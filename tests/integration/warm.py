"""Ray's workers without the seconds that their imports take: forks of one process that has done them.

Ray starts each worker as a program. Here that program asks a server for a fork of itself, which runs Ray's script as
the program would have: same words, environment, streams and folder. The fork ends when its program does, and the
program when its fork does.
"""

import array
import atexit
import contextlib
import gc
import json
import os
import runpy
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from functools import cache
from importlib import import_module
from pathlib import Path

# What a worker imports, but for Ray itself: its library reads the environment of a worker when it is loaded.
_PRELOAD = (
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
)

# The program: it hands itself over and waits for the end of its fork. Anything but a worker it leaves to Python.
_PROGRAM = """\
#!{python} -IS
import array, json, os, socket, sys
if len(sys.argv) < 2 or not sys.argv[1].endswith(("setup_worker.py", "default_worker.py")):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    words = json.dumps([os.getpid(), os.getcwd(), sys.argv[1:], dict(os.environ)]).encode()
    streams = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
    server.sendmsg([len(words).to_bytes(4, "little")], streams)
    server.sendall(words)
    server.recv(1)
"""


@cache
def _started() -> tuple[Path, int]:
    """Start a server: its program, and its process id."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    address = str(folder / "socket")
    with socket.create_server(address, family=socket.AF_UNIX, backlog=64) as listener:
        command = [sys.executable, "-m", __name__, str(listener.fileno()), str(folder)]
        server = subprocess.Popen(
            command, pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL, cwd=Path(__file__).parents[2]
        )
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.wait)
    atexit.register(server.kill)
    file = folder / "python"
    file.write_text(_PROGRAM.format(python=sys.executable, address=address))
    file.chmod(0o755)
    return file, server.pid


def python() -> str:
    """The program that Ray is to start in place of Python."""
    return str(_started()[0])


def parent(pid: int, of_system: int) -> int:
    """The parent of a process: the program that asked for it, where it is a fork, else what the system says."""
    program, server = _started()
    return int((program.parent / str(pid)).read_text()) if of_system == server else of_system


def serve(listener: socket.socket, folder: Path) -> None:
    """Fork for each program that asks; `folder` gets a file for each fork, with its program's process id."""
    for module in _PRELOAD:
        import_module(module)
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
            (folder / str(pid)).write_text(str(asks[0]))
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
    serve(socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2]))

"""Launches without the seconds that their imports take: forks of one process that has done the imports.

Each is a process of its own, with its own words, environment, streams and signals, as one of `python -m` is.
"""

import multiprocessing
import os
import sys
import tempfile
import warnings
from functools import cache
from importlib import import_module
from pathlib import Path
from subprocess import TimeoutExpired

from tests.integration import warm

# The process that is forked imports this module first: later changes of its environment are by other imports.
_AT_FIRST = dict(os.environ)


@cache
def _server():
    context = multiprocessing.get_context("forkserver")
    # The integrations are imported by Tune where it counts callbacks, and with them MLflow, W&B and Polars.
    integrations = [f"ray.air.integrations.{name}" for name in ("mlflow", "wandb")]
    context.set_forkserver_preload(
        [
            __name__,
            "sweep.launch",
            "sweep.search.__main__",
            "sweep.engine.session",
            "torch.fx.experimental.symbolic_shapes",
            *integrations,
        ]
    )
    return context


def _command_line(name, words, environment, files, strict, python):
    """Do what `python -m` does, in a forked process."""
    by_imports = {name: value for name, value in os.environ.items() if _AT_FIRST.get(name) != value}
    os.environ.clear()
    os.environ.update(environment | by_imports)
    tempfile.tempdir = None  # the environment says where it is
    for file, stream in zip(files, (sys.stdout, sys.stderr), strict=True):
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND)
        os.dup2(descriptor, stream.fileno())
        os.close(descriptor)
    if strict:
        warnings.simplefilter("error", FutureWarning)
    module = import_module(name)
    sys.executable = python
    sys.argv = [module.__file__, *words]
    module.main()


class Forked:
    """A command line in a forked process, with the methods of `subprocess.Popen` that tests use."""

    def __init__(self, module, *words, strict=False):
        """Start the module's `main` with these words; `strict` makes a FutureWarning an error."""
        self._folder = tempfile.TemporaryDirectory()
        self._files = [Path(self._folder.name) / name for name in ("out", "err")]
        for file in self._files:
            file.touch()
        arguments = (module, [*map(str, words)], dict(os.environ), self._files, strict, warm.python())
        self._process = _server().Process(target=_command_line, args=arguments)
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self._process.exitcode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self._process.kill()

    def communicate(self, timeout=None):
        self._process.join(timeout)
        if self.poll() is None:
            raise TimeoutExpired(f"fork {self.pid}", timeout)
        return tuple(file.read_text() for file in self._files)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._process.join()

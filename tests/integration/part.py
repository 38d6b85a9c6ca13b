"""`main STUDY RESULTS I/N [COUNT]`: a part of a launch without Ray, which kills itself after COUNT results."""

import os
import signal
import sys

import sweep
from sweep.engine.incoming import Incoming
from tests.integration.launching import DATA


def main():
    path, results, part, *count = sys.argv[1:]
    number, of = map(int, part.split("/"))
    if count:
        _die_after(int(count[0]))
    sweep.run(path, ray=False, results=results, data_root=DATA, part=(number, of))


def _die_after(count):
    add, left = Incoming.add, iter(range(count - 1, -1, -1))

    def then_dies(self, result):
        add(self, result)
        if not next(left):
            self.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    Incoming.add = then_dies

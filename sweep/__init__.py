"""Sweep studies of pruning: study → plan → schedule → trial → results."""

import os
import signal
import sys

# While `python -m` looks for a command its name is "-m". What the command imports takes seconds: until it is
# there, nothing is to be saved.
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

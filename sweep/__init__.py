"""Sweep studies of pruning: study → plan → engine → trial → results.

The public modules are those of `__all__`: `sweep.study.load` reads a study file, `sweep.trial.run` runs one
of its trials. The commands are `python -m sweep.launch` and `python -m sweep.search`.
"""

import os
import signal
import sys

__all__ = ["config", "data", "models", "plan", "rules", "study", "trial"]

# While `python -m` looks for a command its name is "-m". The imports of a command take seconds, and there is
# nothing to save before they are done.
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

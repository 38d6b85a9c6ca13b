"""Sweep studies of pruning: study → plan → engine → trial → results.

From Python, `sweep.Study(…)` and `sweep.load(file)` give a study, and `sweep.run(study)` its results. The
public modules are those of `__all__`. The commands are `python -m sweep.launch` and `python -m sweep.search`.
"""

import os
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweep.python import run as run
    from sweep.study.given import Study as Study
    from sweep.study.given import load as load

__all__ = ["Study", "config", "data", "load", "models", "plan", "rules", "run", "study", "trial"]

# Where the names are that are imported when they are asked for: analyses import this package without torch.
_LAZY = {"Study": "sweep.study.given", "load": "sweep.study.given", "run": "sweep.python"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


# While `python -m` looks for a command its name is "-m". The imports of a command take seconds, and there is
# nothing to save before they are done.
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

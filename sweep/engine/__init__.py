"""Trials run by Ray Tune, on this machine or a cluster. Only here and in `sweep.search` is Ray imported."""

import gc
import logging
import os
import warnings

# Imports of PyTorch and Ray make half a million objects that stay. With the usual threshold the garbage
# collector visits these objects so often that it takes a sixth of the seconds in which a worker starts. A
# worker returns to the usual threshold when its imports are done.
USUAL = gc.get_threshold()
gc.set_threshold(100_000)

# What the user's environment says to Ray.
SAID = tuple(sorted(name for name in os.environ if name.startswith("RAY_")))

# Ray reads these when it is imported, which is after this package.
# Results go through our own writer: Tune's loggers and snapshots would cost more than short trials do.
os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "1000000"
os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
# A trial whose worker died has a result that says so; Tune would print a trace over the progress.
os.environ["TUNE_PRINT_ALL_TRIAL_ERRORS"] = "0"
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
# In a notebook Ray misses widgets that no launch shows.
logging.getLogger("ray.widgets").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message="IProgress not found")
# After an interrupt Tune's thread must not start a cluster of its own.
os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"

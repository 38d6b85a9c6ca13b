"""A machine of its own for what would stop, or be found by, other Ray processes of this one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Processes, network and /tmp/ray of its own. `ray stop`, which `ray down` runs, ends whatever Ray it finds.
_PREPARE = """
mkdir -p /tmp/ray && mount -t tmpfs none /tmp/ray && ip link set lo up && exec "$@"
"""
_ALONE = [
    "unshare",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--net",
    "--mount",
    "sh",
    "-c",
    _PREPARE,
    "sh",
]


def need(*programs):
    """Skip the test where something is missing."""
    missing = [name for name in ("unshare", "ip", *programs) if not shutil.which(name)]
    if missing:
        pytest.skip(f"no {', '.join(missing)} on this machine: .ci/run installs it")
    if subprocess.run([*_ALONE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("namespaces cannot be made here: that takes root")


def run(module, home, *words, timeout=240):
    """Run a module of ours there; what it says on stdout."""
    scripts = Path(sys.executable).parent
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TUNE_"))},
        "HOME": str(home),
        "PATH": f"{scripts}:/usr/sbin:/usr/bin:/sbin:/bin",
    }
    answer = subprocess.run(
        [*_ALONE, sys.executable, "-m", module, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=timeout,
    )
    assert answer.returncode == 0, answer.stdout[-6000:] + answer.stderr[-6000:]
    return answer.stdout

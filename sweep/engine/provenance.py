"""Who ran what with which code, packages and hardware."""

import os
import platform
import subprocess
import sys
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sweep.parts import Part, record

_PACKAGES = ("secateur", "ray", "torch", "torchvision", "pyarrow", "numpy")


def cores() -> int:
    """Processors this process may use; in a job of SLURM no more than its allocation has here."""
    allowed = len(os.sched_getaffinity(0))
    granted = os.environ.get("SLURM_CPUS_ON_NODE", "")
    return min(allowed, int(granted)) if granted.isdecimal() and int(granted) else allowed


def here(parts: Iterable[Part] = ()) -> dict[str, Any]:
    """This process, as one entry among the launches of study.json; `launch` is the entry's id.

    Args:
        parts: of one's own that the study names.
    """
    status = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "launch": uuid.uuid4().hex[:12],
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "git_revision": _git("rev-parse", "HEAD"),
        "git_dirty": None if status is None else bool(status),
        "parts": [record(part) for part in parts],
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
        "hardware": {
            "node": platform.node(),
            "machine": platform.machine(),
            "cpu": _cpu(),
            # Another instruction set gives other last digits, and after training other accuracies.
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "cores": cores(),
            "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        },
    }


def code(launch: Mapping[str, Any]) -> str:
    """The code revision of a launch, from its entry in study.json.

    Returns:
        The git commit, with `-dirty` if tracked files differ from it; without a repository the version of
        the package.
    """
    if launch["git_revision"] is None:
        return str(launch["versions"]["secateur"])
    return f"{launch['git_revision']}{'-dirty' if launch['git_dirty'] else ''}"


def _cpu() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


def _git(*words: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), *words]
    try:
        answer = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    except OSError:  # no git on this machine
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None

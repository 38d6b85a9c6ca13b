"""The queue of SLURM, by SLURM's own commands."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sweep.errors import BadInput

# States of a job that will not run again (squeue's manual).
_ENDED = (
    *("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "DEADLINE", "PREEMPTED"),
    *("NODE_FAIL", "BOOT_FAIL", "OUT_OF_MEMORY"),
)
# Seconds that SLURM may take for an answer: a busy controller takes its time.
_PATIENCE = 120


@dataclass(frozen=True)
class Job:
    """What SLURM says of a job.

    Attributes:
        number: its id.
        state: such as `PENDING`.
        reason: why it is in this state; `None` if there is no reason.
        nodes: names of its nodes, as SLURM writes lists: `n[1-2]`; empty while it waits.
        log: the file that gets what it prints.
        restarts: how often it has gone back into the queue.
        code: exit code of its batch script; 0 while it runs.
        begins: when it may run, in seconds since 1970; None: that is not known.
        ends: when its time is over, in seconds since 1970; None: its time has no limit.
    """

    number: str
    state: str
    reason: str
    nodes: str
    log: Path
    restarts: int
    code: int
    begins: float | None
    ends: float | None

    @property
    def ended(self) -> bool:
        """Whether the job will not run again."""
        return self.state in _ENDED


def submit(script: str) -> str:
    """Submit a batch script from the current folder.

    Returns:
        The number of the job.

    Raises:
        BadInput: SLURM refuses the job, or is not on this machine.
    """
    # What a job has around it must not decide about a job that is submitted from within.
    outside = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_"))}
    kept = {key: os.environ[key] for key in ("SLURM_CONF", "SLURM_CLUSTERS") if key in os.environ}
    answer = _ask("sbatch", "--parsable", script=script, environment=outside | kept)
    return answer.strip().partition(";")[0]  # NUMBER;CLUSTER where there are several clusters


def find(name: str) -> str | None:
    """The number of a job of this user with a name that waits or runs; None: there is none."""
    numbers = _ask("squeue", "--me", "--noheader", f"--name={name}", "--format=%A").split()
    return numbers[-1] if numbers else None


def show(number: str) -> Job | None:
    """What SLURM says of a job; None: it has forgotten the job, some minutes after its end.

    Raises:
        BadInput: SLURM does not answer.
    """
    try:
        text = _ask("scontrol", "show", "job", number, environment=os.environ | {"SLURM_TIME_FORMAT": "%s"})
    except BadInput as error:
        if "Invalid job id" in str(error):
            return None
        raise

    def field(name: str) -> str:
        found = re.search(rf"(?:^|\s){name}=(\S*)", text)
        return found[1] if found else ""

    def seconds(name: str) -> float | None:
        return float(field(name)) if field(name).isdecimal() else None

    log = re.search(r"^\s*StdOut=(.*)$", text, re.MULTILINE)
    code, _, signal = field("ExitCode").partition(":")
    return Job(
        number=number,
        state=field("JobState"),
        reason=field("Reason"),
        nodes="" if field("NodeList") == "(null)" else field("NodeList"),
        log=Path(log[1] if log else os.devnull),
        restarts=int(field("Restarts") or 0),
        code=int(code or 0) or (128 + int(signal) if signal not in ("", "0") else 0),
        begins=seconds("StartTime"),
        ends=None if field("TimeLimit") == "UNLIMITED" else seconds("EndTime"),
    )


def requeue(number: str) -> str:
    """Send a running job back into the queue, or submit its batch script anew where SLURM refuses that.

    Returns:
        The number of the job that is in the queue.

    Raises:
        BadInput: SLURM refuses both, or the words of the study are not in the batch script.
    """
    try:
        _ask("scontrol", "requeue", number)
    except BadInput as refused:
        script = _ask("scontrol", "write", "batch_script", number, "-")
        if "\nset -- " not in script:  # submitted by hand: options of sbatch's command line would be lost
            raise BadInput(f"job {number}: {refused}: submit it again to go on") from None
        return submit(script)
    return number


def hosts(names: str) -> list[str]:
    """The nodes of a list as SLURM writes them: `n[1-2]`."""
    return _ask("scontrol", "show", "hostnames", names).split()


def address(node: str) -> str:
    """The host name or address under which SLURM reaches a node."""
    found = re.search(r"\bNodeAddr=(\S+)", _ask("scontrol", "show", "node", node))
    return found[1] if found else node


def _ask(*words: str, script: str | None = None, environment: dict[str, str] | None = None) -> str:
    """What a command of SLURM prints.

    Raises:
        BadInput: there is no such command here, it fails, or it says nothing for minutes.
    """
    command = words[0]
    try:
        answer = subprocess.run(
            words,
            input=script if script is not None else "",
            env=environment,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        )
    except OSError:
        raise BadInput(
            f"--slurm: no {command} on this machine: launch where jobs of SLURM are submitted"
        ) from None
    except subprocess.TimeoutExpired:
        raise BadInput(f"{command}: SLURM does not answer: try again later") from None
    if answer.returncode:
        why = " ".join(line.removeprefix(f"{command}: ") for line in answer.stderr.splitlines()[:2])
        raise BadInput(f"{command}: {why or f'exit code {answer.returncode}'}")
    return answer.stdout

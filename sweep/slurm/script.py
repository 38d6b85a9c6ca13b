"""The batch script of a study: deploy/slurm.sbatch with the options and words of a launch filled in."""

import hashlib
import shlex
import sys
from collections.abc import Sequence

from sweep import shipped
from sweep.errors import BadInput
from sweep.store.places import Place, absolute

# Options of sbatch with which the job would not run the study, or could not be found again.
_OWN = ("--job-name", "-J", "--wrap", "--array", "-a", "--wait", "-W", "--parsable", "--test-only")


def name(study: str, folder: Place, part: str) -> str:
    """The name of the job of a study: the same for every launch into the same folder of results.

    Args:
        part: of the study that the launch runs; empty: all of it.
    """
    identity = f"{absolute(folder)} {part}"
    return f"{study}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


def options(text: str) -> list[str]:
    """The options of sbatch in the value of `--slurm`.

    Raises:
        BadInput: they are none, or none that a launch can use.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadInput(f"--slurm {text}: {error}: close the quotation") from None
    if words and not words[0].startswith("-"):
        raise BadInput(f"--slurm {text}: give options of sbatch, such as --partition={words[0]}")
    for word in words:
        option = word.partition("=")[0] if word.startswith("--") else word[:2]
        if option in _OWN:
            instead = (
                ": an array is submitted by hand: sbatch --array=… deploy/slurm.sbatch"
                if option in ("--array", "-a")
                else " is set by the launch itself: leave it out"
            )
            raise BadInput(f"--slurm: {option}{instead}")
        if not word.isprintable():
            raise BadInput(f"--slurm: {word!r} has a control character: leave it out")
    return words


def batch_script(job: str, options: Sequence[str], words: Sequence[str]) -> str:
    """The batch script.

    Args:
        job: its name.
        options: of sbatch; they go before those of the file.
        words: of the launch: the study and its options.
    """
    *lines, last = shipped.BATCH_SCRIPT.read_text(encoding="utf-8").splitlines()
    end = max(number for number, line in enumerate(lines) if line.startswith("#SBATCH")) + 1
    own = [f"#SBATCH --job-name={shlex.quote(job)}", *([f"#SBATCH {shlex.join(options)}"] if options else [])]
    # The Python of this launch, whatever environment the job finds.
    start = last.replace("python", shlex.quote(sys.executable), 1)
    return "\n".join([*lines[:end], *own, *lines[end:], f"set -- {shlex.join(words)}", start, ""])

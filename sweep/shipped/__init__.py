"""The studies, examples and the batch script that come with the package. In the repository they are links."""

from difflib import get_close_matches
from pathlib import Path

from sweep.errors import BadInput

_HERE = Path(__file__).parent
# The script that runs a launch as a job of SLURM.
BATCH_SCRIPT = _HERE / "slurm.sbatch"
_FOLDERS = (_HERE / "studies", _HERE / "examples")


def studies() -> dict[str, Path]:
    """The files of the studies, then of the examples, by name."""
    return {path.stem: path for folder in _FOLDERS for path in sorted(folder.glob("*.yaml"))}


def found(path: Path) -> Path:
    """The file that a path means: the path itself where there is something, else what comes under the name.

    Raises:
        BadInput: there is nothing, and what comes along has a name that is nearly this one.
    """
    known = studies()
    if path.name == str(path) and path.name in known and not path.is_file():
        return known[path.name]
    if not _exists(path) and (near := get_close_matches(path.stem, known, n=1, cutoff=0.8)):
        raise BadInput(f"{path}: there is no such file; did you mean {near[0]}, which comes with secateur?")
    return path


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # no file can have such a name
        return False


def description(path: Path) -> str:
    """What a study says of itself: the comment at its head, or else the line that names a part of its own."""
    lines = path.read_text(encoding="utf-8").splitlines()
    head = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    comment = " ".join(line.removeprefix("#").strip() for line in lines[:head])
    return comment or next((line for line in lines if ".py:" in line), "")

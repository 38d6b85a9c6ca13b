"""The data sets by name: what of them must lie under the data root, and how it gets there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from sweep.data import decoded
from sweep.data.images import CROPPED, Shape
from sweep.errors import BadInput
from sweep.store.places import cached, copy, place

FOLDER = "image-folder:"
TINY = "tiny-imagenet-200"  # its folder
_TINY_URL = f"http://cs231n.stanford.edu/{TINY}.zip"
_TINY_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"


@dataclass(frozen=True)
class Known:
    """What is known of a data set before it is looked for.

    Attributes:
        shape: channels, height and width of an image.
        files: what must be there, under the data root.
        hint: the end of "it is not under ROOT; …", with {root} for the data root.
        torchvision: the class that reads it, and the folder under the data root that the class is given.
    """

    shape: Shape
    classes: int
    files: tuple[str, ...] = ()
    hint: str = ""
    torchvision: tuple[str, str] | None = None


def _mnist(name: str) -> Known:
    parts = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    files = tuple(f"{name}/raw/{part}-ubyte" for part in parts)
    return Known((1, 28, 28), 10, files, _command(name, f"{name}('{{root}}', download=True)"), (name, ""))


def _cifar(name: str, classes: int, folder: str, files: tuple[str, ...], also: str = "") -> Known:
    return Known(
        (3, 32, 32),
        classes,
        tuple(f"{folder}/{file}" for file in files),
        _command(name, f"{name}('{{root}}', download=True)") + also,
        (name, ""),
    )


def _command(reader: str, call: str) -> str:
    return f'get it with: python -c "from torchvision.datasets import {reader}; {call}"'


DATASETS = {
    "digits": Known((1, 8, 8), 10),
    "mnist": _mnist("MNIST"),
    "fashion-mnist": _mnist("FashionMNIST"),
    "kmnist": _mnist("KMNIST"),
    "cifar10": _cifar(
        "CIFAR10",
        10,
        "cifar-10-batches-py",
        (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"),
        ", or have its images as cifar10/train/CLASS/IMAGE and cifar10/test/CLASS/IMAGE there",
    ),
    "cifar100": _cifar("CIFAR100", 100, "cifar-100-python", ("train", "test", "meta")),
    "svhn": Known(
        (3, 32, 32),
        10,
        ("svhn/train_32x32.mat", "svhn/test_32x32.mat"),
        _command("SVHN", "[SVHN('{root}/svhn', part, download=True) for part in ('train', 'test')]"),
        ("SVHN", "svhn"),
    ),
    "tiny-imagenet": Known(
        (3, 64, 64),
        200,
        (f"{TINY}/train", f"{TINY}/val/images", f"{TINY}/val/val_annotations.txt"),
        f"get it with: curl -o {{root}}/{TINY}.zip {_TINY_URL} && unzip -q {{root}}/{TINY}.zip -d {{root}}",
    ),
    "imagenet": Known(
        CROPPED,
        1000,
        ("imagenet/train", "imagenet/val"),
        "expected are imagenet/train/CLASS/IMAGE and imagenet/val/CLASS/IMAGE there, from image-net.org",
    ),
}


def chance(name: str) -> float:
    """Accuracy of guessing among the classes; 0 of a data set whose classes are not known by its name."""
    return 1 / DATASETS[name].classes if name in DATASETS else 0.0


def local(name: str, root: str | Path) -> Path:
    """The data root on this machine: of an object store, a folder that its data set is copied to once.

    That is under ~/.cache/secateur, or where XDG_CACHE_HOME says. One process copies, the others wait for it.

    Raises:
        BadInput: the store does not have it, or does not give it.
    """
    source = place(root)
    if isinstance(source, Path):
        return source
    home = cached("data", source)
    try:
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / f"{name.replace('/', '_')}.lock"):
            if not _there(name, home):
                files = () if name.startswith(FOLDER) else DATASETS[name].files
                whole = files and all((source / file).exists() for file in files)
                for wanted in files if whole else folders(name, home):
                    target = home / wanted
                    if not target.exists():
                        copy(source / str(target.relative_to(home)), target)
    except FileNotFoundError as error:
        raise BadInput(f"{name}: it is not under {root} ({error}); put it there") from None
    except OSError as error:
        raise BadInput(f"{name}: it cannot be copied from {root} to {home}: {error}") from None
    return home


def _there(name: str, root: Path) -> bool:
    try:
        require(name, root)
    except BadInput:
        return False
    return True


def require(name: str, root: Path) -> None:
    """Do nothing if a data set is there.

    Raises:
        BadInput: it is not, or nothing can be there; the message says what to do.
    """
    try:
        _require(name, root)
    except OSError as error:  # a name too long for a file, a folder that may not be looked into
        raise BadInput(
            f"{name}: {error.strerror}: give it another name, or name another place with --data-root"
        ) from None


def _require(name: str, root: Path) -> None:
    parts = folders(name, root)
    if name.startswith(FOLDER):
        for part in parts:
            if not part.is_dir():
                raise BadInput(
                    f"{name}: there is no folder {part}; expected are train/CLASS/IMAGE and test/CLASS/IMAGE "
                    f"under {part.parent} (--data-root names another place)"
                )
    elif not (has_files(name, root) or (parts and all(part.is_dir() for part in parts))):
        raise BadInput(
            f"{name}: it is not under {root}; {hint(name, root)}, or name another place with --data-root"
        )


def download(name: str, root: Path) -> None:
    """Get a data set from where it is published, unless it is there or has to be got by hand.

    Raises:
        BadInput: that failed.
    """
    try:
        require(name, root)
        return
    except BadInput:
        if name.startswith(FOLDER) or name == "imagenet":
            raise
    try:
        folder = root / decoded.FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{name}.download.lock"):
            if has_files(name, root):
                return
            if name == "tiny-imagenet":
                from torchvision.datasets.utils import download_and_extract_archive

                # Into place only when all of it is there: nothing else says how many images there should be.
                download_and_extract_archive(_TINY_URL, str(folder), md5=_TINY_MD5, remove_finished=True)
                (folder / TINY).rename(root / TINY)
            else:
                torchvision(name, root, download=True)
    except (OSError, RuntimeError) as error:
        raise BadInput(f"{name}: downloading it failed ({error}); {hint(name, root)}") from None


def torchvision(name: str, root: Path, download: bool) -> list[Any]:
    """Training and test set as torchvision has them; it checks their files where it knows their hashes.

    Raises:
        RuntimeError: the files are missing or not what they should be.
    """
    import torchvision.datasets

    known = DATASETS[name].torchvision
    assert known is not None
    reader, folder = known
    parts = ("train", "test") if reader == "SVHN" else (True, False)
    return [
        getattr(torchvision.datasets, reader)(str(root / folder), part, download=download) for part in parts
    ]


def hint(name: str, root: Path) -> str:
    """How to get a data set that has a name of its own."""
    return DATASETS[name].hint.format(root=root)


def has_files(name: str, root: Path) -> bool:
    """Whether all is there that torchvision, or the publisher's archive, has of a data set."""
    return all((root / file).exists() for file in DATASETS[name].files)


def folders(name: str, root: Path) -> tuple[Path, ...]:
    """Where the class folders of the training and the test set are, or would be."""
    if name.startswith(FOLDER):
        folder = root / name.removeprefix(FOLDER)
    elif name in ("cifar10", "imagenet"):
        folder = root / name
    else:
        return ()
    return folder / "train", folder / ("val" if name == "imagenet" else "test")

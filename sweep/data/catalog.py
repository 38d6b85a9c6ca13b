"""The data sets by name: their properties, the files they need under the data root, and how to get these."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from sweep import parts
from sweep.data import decoded, texts
from sweep.data.images import CROPPED, Shape
from sweep.data.tasks import CLASSIFICATION, LANGUAGE
from sweep.errors import BadInput
from sweep.store.places import cached, copy, place

FOLDER = "image-folder:"  # prefix of the names of data sets in folders of one's own
TINY = "tiny-imagenet-200"  # Tiny ImageNet's folder
_TINY_URL = f"http://cs231n.stanford.edu/{TINY}.zip"
_TINY_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"


class Reader(Enum):
    """How the files of a data set are read."""

    TORCHVISION = "by a class of torchvision"
    SCIKIT_LEARN = "scikit-learn's digits"
    TINY = "class folders of training images, and a list of the labels of test images"
    FOLDERS = "class folders"
    TEXT = "bytes of a text, in windows"


class Torchvision(NamedTuple):
    """The class of `torchvision.datasets` that reads and downloads a data set.

    Attributes:
        name: of the class.
        folder: under the data root, that the class gets as its own root.
        parts: arguments that select the training and the test set.
    """

    name: str
    folder: str = ""
    parts: tuple[Any, Any] = (True, False)


@dataclass(frozen=True)
class Dataset:
    """Properties of a data set, known before its files are read.

    Attributes:
        shape: channels, height and width of an image; None: known once the data are read.
        classes: number of classes; None: known once the data are read.
        files: files and folders that the data set needs under the data root.
        hint: how to get them; the end of "it is not under ROOT; …", with {root} for the data root.
        reader: how the files are read.
        torchvision: the class of torchvision, if `reader` is TORCHVISION.
        folders: class folders of training and test images under the data root. With another reader than
            FOLDERS they are read if `files` are missing.
        normalization: mean and deviation of each channel, for pixel values from 0 to 1; None: computed from
            the training images.
        mirrored: whether a mirror image shows the same thing, so that recipes may flip images.
        crops: whether images are of any size, and a crop of `shape` is cut from each.
        give: a function that returns the data as a pair (train, test); None: they are read from files. Each
            is a pair (inputs, targets) or a data set of pairs; see `sweep.data.given`. The function is called
            with the data root if it has a positional parameter without a default, and with the parameters of
            the trial by keyword.
        text: data root, and the parameters of the trial by keyword → texts, if `reader` is TEXT.
        task: a name of `sweep.data.tasks:TASKS`; None: guessed from the targets.
    """

    shape: Shape | None = None
    classes: int | None = None
    files: tuple[str, ...] = ()
    hint: str = ""
    reader: Reader = Reader.TORCHVISION
    torchvision: Torchvision | None = None
    folders: tuple[str, str] | None = None
    normalization: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    mirrored: bool = False
    crops: bool = False
    give: Callable[..., Any] | None = None
    text: Callable[..., texts.Texts] | None = None
    task: str | None = None


def _mnist(name: str) -> Dataset:
    parts = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    files = tuple(f"{name}/raw/{part}-ubyte" for part in parts)
    hint = _command(name, f"{name}('{{root}}', download=True)")
    return Dataset((1, 28, 28), 10, files, hint, torchvision=Torchvision(name))


def _cifar(name: str, classes: int, folder: str, files: tuple[str, ...]) -> Dataset:
    paths = tuple(f"{folder}/{file}" for file in files)
    hint = _command(name, f"{name}('{{root}}', download=True)")
    return Dataset((3, 32, 32), classes, paths, hint, torchvision=Torchvision(name), mirrored=True)


def _cifar10() -> Dataset:
    files = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
    dataset = _cifar("CIFAR10", 10, "cifar-10-batches-py", files)
    also = ", or have its images as cifar10/train/CLASS/IMAGE and cifar10/test/CLASS/IMAGE there"
    return replace(dataset, hint=dataset.hint + also, folders=("cifar10/train", "cifar10/test"))


def _command(reader: str, call: str) -> str:
    return f'get it with: python -c "from torchvision.datasets import {reader}; {call}"'


DATASETS = {
    "digits": Dataset((1, 8, 8), 10, reader=Reader.SCIKIT_LEARN),
    "mnist": _mnist("MNIST"),
    "fashion-mnist": _mnist("FashionMNIST"),
    "kmnist": _mnist("KMNIST"),
    "cifar10": _cifar10(),
    "cifar100": _cifar("CIFAR100", 100, "cifar-100-python", ("train", "test", "meta")),
    "svhn": Dataset(
        (3, 32, 32),
        10,
        ("svhn/train_32x32.mat", "svhn/test_32x32.mat"),
        _command("SVHN", "[SVHN('{root}/svhn', part, download=True) for part in ('train', 'test')]"),
        torchvision=Torchvision("SVHN", "svhn", ("train", "test")),
    ),
    "tiny-imagenet": Dataset(
        (3, 64, 64),
        200,
        (f"{TINY}/train", f"{TINY}/val/images", f"{TINY}/val/val_annotations.txt"),
        f"get it with: curl -o {{root}}/{TINY}.zip {_TINY_URL} && unzip -q {{root}}/{TINY}.zip -d {{root}}",
        Reader.TINY,
        mirrored=True,
    ),
    "imagenet": Dataset(
        CROPPED,
        1000,
        ("imagenet/train", "imagenet/val"),
        "expected are imagenet/train/CLASS/IMAGE and imagenet/val/CLASS/IMAGE there, from image-net.org",
        Reader.FOLDERS,
        folders=("imagenet/train", "imagenet/val"),
        # Of red, green and blue; in general use since fb.resnet.torch.
        normalization=((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        mirrored=True,
        crops=True,
    ),
    "text:kjv": Dataset(reader=Reader.TEXT, text=texts.kjv, task=LANGUAGE),
}


def find(name: str) -> Dataset:
    """The data set of a name: one of `DATASETS`, `image-folder:NAME` for class folders of images,
    `text-file:NAME` for a text, or a part.

    Raises:
        BadInput: there is no such data set; the message suggests the nearest name.
    """
    if name in DATASETS:
        return DATASETS[name]
    inside = name.removeprefix(FOLDER)
    if inside != name:
        # The pictures in an image folder are taken to show the same thing in a mirror.
        folders = (f"{inside}/train", f"{inside}/test")
        return Dataset(reader=Reader.FOLDERS, folders=folders, mirrored=True)
    if (inside := name.removeprefix(texts.FOLDER)) != name:
        train, test = paths = tuple(f"{inside}/{file}" for file in texts.FILES)
        hint, read = f"expected are {{root}}/{train} and {{root}}/{test}", partial(texts.of_file, inside)
        return Dataset(files=paths, hint=hint, reader=Reader.TEXT, text=read, task=LANGUAGE)
    if parts.is_name(name):
        part = parts.need(name)
        return replace(parts.made(Dataset, part), give=part)
    known = ", ".join([*DATASETS, f"{FOLDER}NAME", f"{texts.FOLDER}NAME"])
    near = get_close_matches(name, DATASETS, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known: {known}"
    raise BadInput(f"no such dataset: {name}; {hint}")


def chance(name: str) -> float:
    """Accuracy of guessing among the classes; 0 where the number of classes is not known by name."""
    classes = DATASETS[name].classes if name in DATASETS else None
    return 1 / classes if classes else 0.0


def mirrored(name: str) -> bool:
    """Whether a mirror image shows the same thing."""
    return find(name).mirrored


def task(name: str) -> str | None:
    """The declared task of a data set; of one in files, classification; None: only data or code say it."""
    if parts.is_name(name) and not parts.find(name):
        return None
    dataset = find(name)
    return dataset.task or (None if dataset.give else CLASSIFICATION)


def local(name: str, root: str | Path) -> Path:
    """The data root on this machine: `root` itself, or a folder that a store's data set is copied to once.

    That folder is under ~/.cache/secateur, or $XDG_CACHE_HOME. One process copies, the others wait for it.

    Raises:
        BadInput: the data set is not in the store, or cannot be copied.
    """
    source = place(root)
    if isinstance(source, Path):
        return source
    home = cached("data", source)
    try:
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / f"{name.replace('/', '_')}.lock"):
            if not _is_complete(name, home):
                files = find(name).files
                complete = files and all((source / file).exists() for file in files)
                for path in files if complete else folders(name, home):
                    target = home / path
                    if not target.exists():
                        copy(source / str(target.relative_to(home)), target)
    except FileNotFoundError as error:
        raise BadInput(f"{name}: it is not under {root} ({error}); put it there") from None
    except OSError as error:
        raise BadInput(f"{name}: it cannot be copied from {root} to {home}: {error}") from None
    return home


def _is_complete(name: str, root: Path) -> bool:
    try:
        require(name, root)
    except BadInput:
        return False
    return True


def require(name: str, root: Path) -> None:
    """Check that the files of a data set are under the data root.

    Raises:
        BadInput: they are missing, or cannot be looked for; the message says what to do.
    """
    try:
        _require(name, root)
    except OSError as error:  # such as a name too long for a file, or a folder without permission
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
    """Download a data set to the data root, unless its files are there.

    Raises:
        BadInput: the download failed, or the data set has to be got by hand.
    """
    try:
        require(name, root)
        return
    except BadInput:
        if find(name).reader in (Reader.FOLDERS, Reader.TEXT) or find(name).give:
            raise
    try:
        folder = root / decoded.FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{name}.download.lock"):
            if has_files(name, root):
                return
            if find(name).reader is Reader.TINY:
                from torchvision.datasets.utils import download_and_extract_archive

                # Moved into place once it is complete: nothing else tells how many images there should be.
                download_and_extract_archive(_TINY_URL, str(folder), md5=_TINY_MD5, remove_finished=True)
                (folder / TINY).rename(root / TINY)
            else:
                torchvision(name, root, download=True)
    except (OSError, RuntimeError) as error:
        raise BadInput(f"{name}: downloading it failed ({error}); {hint(name, root)}") from None


def torchvision(name: str, root: Path, download: bool) -> list[Any]:
    """Training and test set as torchvision's objects.

    Raises:
        RuntimeError: files are missing, or do not have the hashes that torchvision knows.
    """
    import torchvision.datasets

    source = find(name).torchvision
    assert source is not None
    read = getattr(torchvision.datasets, source.name)
    return [read(str(root / source.folder), part, download=download) for part in source.parts]


def hint(name: str, root: Path) -> str:
    """How to get a data set that is not an image folder."""
    return find(name).hint.format(root=root)


def has_files(name: str, root: Path) -> bool:
    """Whether all files of a data set that is not an image folder are under the data root, as published."""
    return all((root / file).exists() for file in find(name).files)


def folders(name: str, root: Path) -> tuple[Path, ...]:
    """The class folders of training and test images, which may be missing; none if it does not come so."""
    return tuple(root / path for path in find(name).folders or ())

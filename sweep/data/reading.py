"""The pixels of a data set: from its files, or as they were decoded before, or left where they are."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from sweep.data import catalog, decoded
from sweep.data.catalog import DATASETS, FOLDER, TINY
from sweep.data.image_files import Files
from sweep.data.images import CROPPED, Shape, header, sized
from sweep.errors import BadInput
from sweep.seeds import generator

_DIGITS_TEST = 360

Sample = tuple[str, int]  # path of an image file, and its label


class Whole(NamedTuple):
    """A data set in memory: images (N, C, H, W) as uint8 and labels (N,) as int64."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


class Listing(NamedTuple):
    """A data set as image files."""

    train: list[Sample]
    test: list[Sample]
    classes: int


class Found(NamedTuple):
    """A data set as trials can have it: pixels, in memory or in files, and labels."""

    train: tuple[Tensor | Files, Tensor]
    test: tuple[Tensor | Files, Tensor]
    classes: int
    key: str  # its name in the cache, which says what it was when it was found


@lru_cache(maxsize=2)
def find(name: str, root: Path) -> Found:
    """A data set that is there: decoded before, decoded now, or left in its files.

    ImageNet stays in its files, and so do images that would take more than there is room for. The headers of
    image files are looked at once, other than ImageNet's.

    Raises:
        BadInput: it cannot be used.
    """
    files = listing(name, root)
    if files is None:
        known = DATASETS[name]
        key = f"{name}-{decoded.fingerprint(root, [(str(root / file), 0) for file in known.files])}"
        # Even where decoding takes no time: importing what can takes seconds of every process.
        held = _kept(root, key, partial(read, name, root))
        return Found(held[:2], held[2:], known.classes, key)
    train, test, classes = files
    if name == "imagenet":
        return Found(_left(train, CROPPED, True), _left(test, CROPPED, True), classes, name)
    # The same images under two names are kept once.
    key = f"{name.removeprefix(FOLDER).replace('/', '-')}-{decoded.fingerprint(root, train + test)}"
    # Before anything is decoded, so that what is kept has been looked at once, whichever version kept it.
    if decoded.kept(root, f"{key}-deep", ["deep"], lambda: {"deep": _deep(train + test)})["deep"]:
        # Versions that clipped such levels kept them, and what they are normalized with, under the plain key.
        key += "-reduced"
    shape = _shape(name, train)
    if (len(train) + len(test)) * math.prod(shape) > room(torch.device("cpu")):
        return Found(_left(train, shape, False), _left(test, shape, False), classes, key)
    held = _kept(root, key, partial(decode, files, shape))
    return Found(held[:2], held[2:], classes, key)


def shape(name: str, root: Path) -> Shape:
    """Channels, height and width of an image of a data set that is there; one image at most is read."""
    if name in DATASETS:
        return DATASETS[name].shape
    train, _ = catalog.folders(name, root)
    return _shape(name, _image_folder(train)[1])


def room(device: torch.device) -> int:
    """Bytes a data set may take on a device: half of the memory that is free there."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2
    meminfo = Path("/proc/meminfo").read_text(encoding="utf-8").split()
    free = 1024 * int(meminfo[meminfo.index("MemAvailable:") + 1])
    limit = Path("/sys/fs/cgroup/memory.max")  # of a container
    if limit.is_file() and (text := limit.read_text(encoding="utf-8").strip()).isdigit():
        free = min(free, int(text))
    return free // 2


def listing(name: str, root: Path) -> Listing | None:
    """The image files of a data set, or None if it does not come as such.

    Raises:
        BadInput: they cannot be used as a data set.
    """
    if name == "tiny-imagenet":
        return _tiny(root / TINY)
    folders = catalog.folders(name, root)
    if not folders or (name == "cifar10" and catalog.has_files(name, root)):
        return None
    (classes, train), (others, test) = map(_image_folder, folders)
    if classes != others:
        raise BadInput(f"{name}: {folders[0]} and {folders[1]} must have the same class folders")
    return Listing(train, test, len(classes))


def read(name: str, root: Path) -> Whole:
    """Read a data set that does not come as image files.

    Raises:
        BadInput: its files are damaged.
    """
    if name == "digits":
        return _digits()
    try:
        train, test = catalog.torchvision(name, root, download=False)
        return Whole(*_tensors(train), *_tensors(test))
    except Exception as error:  # what torchvision's readers meet in a damaged file they raise as it comes
        why = " ".join(str(error).split()) or type(error).__name__
        hint = catalog.hint(name, root)
        raise BadInput(
            f"{name}: its files under {root} are damaged ({why}): delete them and {hint}"
        ) from None


def decode(found: Listing, shape: Shape) -> Whole:
    """Read image files, which must all be of one shape.

    Raises:
        BadInput: one cannot be read, or is of another shape.
    """
    tensors = []
    for samples in (found.train, found.test):
        images = torch.empty(len(samples), *shape, dtype=torch.uint8)
        for row, (path, _) in enumerate(samples):
            images[row] = sized(path, shape)
        tensors += [images, torch.tensor([label for _, label in samples])]
    return Whole(*tensors)


def _shape(name: str, samples: Sequence[Sample]) -> Shape:
    if name in DATASETS:
        return DATASETS[name].shape
    path, _ = samples[0]
    return header(path)[0]


def _deep(samples: Sequence[Sample]) -> Tensor:
    """Whether grey levels of more than 8 bits are reduced in any of the images; all of them are looked at.

    Raises:
        BadInput: one of them cannot be used, by its header.
    """
    return torch.tensor(sum(header(path)[1] for path, _ in samples) > 0)


def _kept(root: Path, key: str, read: Callable[[], Whole]) -> Whole:
    return Whole(**decoded.kept(root, key, Whole._fields, lambda: read()._asdict()))


def _left(samples: Sequence[Sample], shape: Shape, crops: bool) -> tuple[Files, Tensor]:
    paths, labels = zip(*samples, strict=True)
    return Files(paths, shape, crops), torch.tensor(labels)


def _image_folder(folder: Path) -> tuple[list[str], list[Sample]]:
    """The classes, and the images of each, in the order of torchvision's ImageFolder.

    Raises:
        BadInput: there is none of either, a folder cannot be read, or a link leads back into where it is.
    """
    from torchvision.datasets.folder import is_image_file

    samples: list[Sample] = []
    try:
        classes = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
        for label, name in enumerate(classes):
            before = len(samples)
            found = sorted((place, files) for place, _, files in _walk(folder / name))
            samples += [
                (os.path.join(place, file), label)  # noqa: PTH118 - a Path for each of many takes longer
                for place, files in found
                for file in sorted(files)
                if is_image_file(file)
            ]
            if len(samples) == before:
                raise BadInput(f"{folder / name}: has no images: put some there, or remove it")
    except OSError as error:
        raise BadInput(f"{folder}: cannot be read: {error}") from None
    if not classes:
        raise BadInput(f"{folder}: has no class folders: expected is CLASS/IMAGE there")
    return classes, samples


def _walk(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """As os.walk does, through links, but what cannot be read, or would never end, is an error."""

    def fail(error: OSError) -> NoReturn:
        raise error

    for place, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        if (path := Path(place)).is_symlink() and path.resolve() in map(Path.resolve, path.parents):
            raise BadInput(f"{place}: is a link to a folder that it is in: remove it")
        yield place, folders, files


def _tiny(folder: Path) -> Listing:
    """Tiny ImageNet as it is in its archive. The images of its own test set have no labels: val stands in."""
    classes, train = _image_folder(folder / "train")
    labels = {name: label for label, name in enumerate(classes)}
    annotations = folder / "val" / "val_annotations.txt"
    test = []
    for number, line in enumerate(_lines(annotations), 1):
        image, _, rest = line.partition("\t")
        label = labels.get(rest.partition("\t")[0])
        if label is None:
            raise BadInput(
                f"{annotations}:{number}: expected is IMAGE, a tab and one of the classes of train"
            )
        test.append((str(folder / "val" / "images" / image), label))
    return Listing(train, test, len(classes))


def _lines(file: Path) -> list[str]:
    if not file.is_file():  # to open a pipe waits for who writes to it
        raise BadInput(f"{file}: is no regular file: put one there")
    try:
        # Names of files have the bytes that they have.
        return file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise BadInput(f"{file}: cannot be read: {error}") from None


def _digits() -> Whole:
    """The 1,797 8×8 images of scikit-learn; it has no test set of its own, so 360 are drawn once for all."""
    from sklearn.datasets import load_digits

    data, target = load_digits(return_X_y=True)
    images = torch.from_numpy(data).to(torch.uint8).view(-1, 1, 8, 8)
    labels = torch.from_numpy(target).long()
    order = torch.randperm(len(labels), generator=generator(0, "digits", "test"))
    train, test = order[_DIGITS_TEST:], order[:_DIGITS_TEST]
    return Whole(images[train], labels[train], images[test], labels[test])


def _tensors(part: Any) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) and labels of a set of torchvision, which keeps each in a way of its own."""
    images = torch.as_tensor(part.data)
    if images.ndim == 3:  # of MNIST and its like
        images = images.unsqueeze(1)
    elif images.shape[3] == 3:  # of CIFAR
        images = images.permute(0, 3, 1, 2)
    return images.contiguous(), torch.as_tensor(part.labels if hasattr(part, "labels") else part.targets)

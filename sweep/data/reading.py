"""The pixels of a data set: decoded from its files, or from what was decoded before, or left in the files."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from sweep.data import catalog, decoded, given, texts
from sweep.data.catalog import FOLDER, TINY, Reader
from sweep.data.image_files import Files
from sweep.data.images import Shape, header, sized
from sweep.data.tasks import CLASSIFICATION, LANGUAGE
from sweep.errors import BadInput
from sweep.parts import Arguments, bind
from sweep.seeds import generator

# Images of digits that are drawn as its test set.
_DIGITS_TEST = 360
# Path of an image file, and its label.
Sample = tuple[str, int]


class InMemory(NamedTuple):
    """A data set in memory: images (N, C, H, W) as uint8 and labels (N,) as int64, or windows of a text."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


class Listing(NamedTuple):
    """The image files of a data set, and its number of classes."""

    train: list[Sample]
    test: list[Sample]
    classes: int


class Images(NamedTuple):
    """The images or other inputs of a data set, in memory or in files, and their targets (N, ...).

    Attributes:
        classes: number of classes, or of a network's outputs.
        key: name of the data set in the cache; it contains a fingerprint of its files.
        task: a name of `sweep.data.tasks:TASKS`.
    """

    train: tuple[Tensor | Files, Tensor]
    test: tuple[Tensor | Files, Tensor]
    classes: int
    key: str
    task: str = CLASSIFICATION


@lru_cache(maxsize=2)
def find(name: str, root: Path, arguments: Arguments = ()) -> Images:
    """The images of a data set whose files are under `root`: decoded before, decoded now, or left in files.

    A data set with a function is what the function gives; nothing of it is kept on disk. ImageNet stays in
    its files, as do images that would take more memory than `room` allows. The headers of all image files
    are read once, except ImageNet's.

    Args:
        arguments: parameters of the data set's function.

    Raises:
        BadInput: the data set cannot be used.
    """
    dataset = catalog.find(name)
    if dataset.give:
        data = given.read(name, root, arguments)
        return Images(data.train, data.test, data.outputs, name, data.task)
    if dataset.text:
        return _windows(name, root, arguments)
    files = listing(name, root)
    if files is None:
        assert dataset.classes is not None
        key = f"{name}-{decoded.fingerprint(root, [(str(root / file), 0) for file in dataset.files])}"
        # Kept even if decoding is fast: importing the decoder would take seconds in every process.
        pixels = _kept(root, key, partial(read, name, root))
        return Images(pixels[:2], pixels[2:], dataset.classes, key)
    train, test, classes = files
    if dataset.crops:
        size = _shape(name, train)
        return Images(_in_files(train, size, True), _in_files(test, size, True), classes, name)
    # Equal images under two names are kept once.
    key = f"{name.removeprefix(FOLDER).replace('/', '-')}-{decoded.fingerprint(root, train + test)}"
    # Before decoding, so that the headers are checked also for images that an earlier version decoded.
    if decoded.kept(root, f"{key}-deep", ["deep"], lambda: {"deep": _deep(train + test)})["deep"]:
        # Earlier versions clipped such levels, and kept images and normalization under the plain key.
        key += "-reduced"
    shape = _shape(name, train)
    if (len(train) + len(test)) * math.prod(shape) > room(torch.device("cpu")):
        return Images(_in_files(train, shape, False), _in_files(test, shape, False), classes, key)
    pixels = _kept(root, key, partial(decode, files, shape))
    return Images(pixels[:2], pixels[2:], classes, key)


def _windows(name: str, root: Path, arguments: Arguments) -> Images:
    """The windows of a text, and the bytes that follow; cut once, as images are decoded once."""
    dataset, chosen = catalog.find(name), dict(arguments)
    read, length = dataset.text, chosen.get("length", texts.LENGTH)
    assert read is not None and isinstance(length, int)

    def cut() -> InMemory:
        parts = bind(read, arguments)(root)
        train, test = (
            texts.windows(f"{name}: {part}", pieces, length)
            for part, pieces in zip(("train", "test"), parts, strict=True)
        )
        return InMemory(*train, *test)

    files = decoded.fingerprint(root, [(str(root / file), 0) for file in dataset.files])
    said = "-".join(f"{key}-{value}" for key, value in sorted(chosen.items()))
    key = f"{name}-{files}-{said}".replace(":", "-").replace("/", "-")
    pixels = _kept(root, key, cut)
    return Images(pixels[:2], pixels[2:], texts.TOKENS, key, LANGUAGE)


def shape(name: str, root: Path) -> Shape:
    """Channels, height and width of an image of a data set under `root`; at most one image is read."""
    if known := catalog.find(name).shape:
        return known
    train, _ = catalog.folders(name, root)
    return _shape(name, _image_folder(train)[1])


def room(device: torch.device) -> int:
    """Bytes that a data set may take on a device: half of its free memory."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2
    meminfo = Path("/proc/meminfo").read_text(encoding="utf-8").split()
    free = 1024 * int(meminfo[meminfo.index("MemAvailable:") + 1])
    limit = Path("/sys/fs/cgroup/memory.max")  # the limit of a container
    if limit.is_file() and (text := limit.read_text(encoding="utf-8").strip()).isdigit():
        free = min(free, int(text))
    return free // 2


def listing(name: str, root: Path) -> Listing | None:
    """The image files of a data set; None if it does not come as image files.

    Raises:
        BadInput: the files cannot be used as a data set.
    """
    reader = catalog.find(name).reader
    if reader is Reader.TINY:
        return _tiny(root / TINY)
    folders = catalog.folders(name, root)
    if not folders or (reader is not Reader.FOLDERS and catalog.has_files(name, root)):
        return None
    (classes, train), (others, test) = map(_image_folder, folders)
    if classes != others:
        raise BadInput(f"{name}: {folders[0]} and {folders[1]} must have the same class folders")
    return Listing(train, test, len(classes))


def read(name: str, root: Path) -> InMemory:
    """Read a data set that does not come as image files.

    Raises:
        BadInput: its files are damaged.
    """
    if catalog.find(name).reader is Reader.SCIKIT_LEARN:
        return _digits()
    try:
        train, test = catalog.torchvision(name, root, download=False)
        return InMemory(*_tensors(train), *_tensors(test))
    except Exception as error:  # torchvision's readers raise many kinds for a damaged file
        why = " ".join(str(error).split()) or type(error).__name__
        hint = catalog.hint(name, root)
        raise BadInput(
            f"{name}: its files under {root} are damaged ({why}): delete them and {hint}"
        ) from None


def decode(files: Listing, shape: Shape) -> InMemory:
    """Read image files, which must all have one shape.

    Raises:
        BadInput: a file cannot be read, or has another shape.
    """
    tensors = []
    for samples in (files.train, files.test):
        images = torch.empty(len(samples), *shape, dtype=torch.uint8)
        for row, (path, _) in enumerate(samples):
            images[row] = sized(path, shape)
        tensors += [images, torch.tensor([label for _, label in samples])]
    return InMemory(*tensors)


def _shape(name: str, samples: Sequence[Sample]) -> Shape:
    if known := catalog.find(name).shape:
        return known
    path, _ = samples[0]
    return header(path)[0]


def _deep(samples: Sequence[Sample]) -> Tensor:
    """Whether any image has grey levels of more than 8 bits, which are reduced. All headers are read.

    Raises:
        BadInput: an image cannot be used, by its header.
    """
    # The sum reads every header, where `any` would stop at the first such image.
    return torch.tensor(sum(header(path)[1] for path, _ in samples) > 0)


def _kept(root: Path, key: str, read: Callable[[], InMemory]) -> InMemory:
    return InMemory(**decoded.kept(root, key, InMemory._fields, lambda: read()._asdict()))


def _in_files(samples: Sequence[Sample], shape: Shape, crops: bool) -> tuple[Files, Tensor]:
    paths, labels = zip(*samples, strict=True)
    return Files(paths, shape, crops), torch.tensor(labels)


def _image_folder(folder: Path) -> tuple[list[str], list[Sample]]:
    """The classes and the images of a folder, in the order of torchvision's ImageFolder.

    Raises:
        BadInput: there is no class, a class has no images, a folder cannot be read, or a link leads to a
            folder that contains it.
    """
    from torchvision.datasets.folder import is_image_file

    samples: list[Sample] = []
    try:
        classes = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
        for label, name in enumerate(classes):
            before = len(samples)
            listed = sorted((place, files) for place, _, files in _walk(folder / name))
            samples += [
                (os.path.join(place, file), label)  # noqa: PTH118 - a Path for each of many takes longer
                for place, files in listed
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
    """As `os.walk`, following links, but a folder that cannot be read and an endless walk are errors."""

    def fail(error: OSError) -> NoReturn:
        raise error

    for place, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        if (path := Path(place)).is_symlink() and path.resolve() in map(Path.resolve, path.parents):
            raise BadInput(f"{place}: is a link to a folder that it is in: remove it")
        yield place, folders, files


def _tiny(folder: Path) -> Listing:
    """Tiny ImageNet as its archive has it. Its `val` is the test set here, as its `test` has no labels."""
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
    if not file.is_file():  # opening a pipe would wait for a writer
        raise BadInput(f"{file}: is no regular file: put one there")
    try:
        # File names may have bytes that are not UTF-8.
        return file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise BadInput(f"{file}: cannot be read: {error}") from None


def _digits() -> InMemory:
    """The 1,797 8×8 images of scikit-learn. They come without a test set: always the same 360 are drawn."""
    from sklearn.datasets import load_digits

    data, target = load_digits(return_X_y=True)
    images = torch.from_numpy(data).to(torch.uint8).view(-1, 1, 8, 8)
    labels = torch.from_numpy(target).long()
    order = torch.randperm(len(labels), generator=generator(0, "digits", "test"))
    train, test = order[_DIGITS_TEST:], order[:_DIGITS_TEST]
    return InMemory(images[train], labels[train], images[test], labels[test])


def _tensors(part: Any) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) and labels (N,) of a data set of torchvision."""
    images = torch.as_tensor(part.data)
    if images.ndim == 3:  # MNIST and similar sets
        images = images.unsqueeze(1)
    elif images.shape[3] == 3:  # CIFAR
        images = images.permute(0, 3, 1, 2)
    return images.contiguous(), torch.as_tensor(part.labels if hasattr(part, "labels") else part.targets)

"""Data sets as whole tensors, split into train, validation and test by a seed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sweep.errors import BadInput
from sweep.seeds import generator

Shape = tuple[int, int, int]
FOLDER = "image-folder:"
_DIGITS_TEST = 360


@dataclass(frozen=True, eq=False)
class Split:
    """Images (N, C, H, W) as uint8 and labels (N,) as int64."""

    images: Tensor
    labels: Tensor

    def take(self, rows: Tensor) -> "Split":
        """The given rows."""
        return Split(self.images[rows], self.labels[rows])

    def to(self, device: torch.device) -> "Split":
        """The same on a device."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True, eq=False)
class Data:
    """The three splits of a data set, and what its images are normalized with.

    Training draws from `train`; choices look at `validation`; `test` is only ever reported.
    """

    train: Split
    validation: Split
    test: Split
    classes: int
    mean: Tensor
    deviation: Tensor

    @property
    def shape(self) -> Shape:
        """Channels, height and width of an image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    def inputs(self, images: Tensor) -> Tensor:
        """Images as a network takes them: float32, normalized per channel, channels last."""
        inputs = (images.float() - self.mean) / self.deviation
        return inputs.contiguous(memory_format=torch.channels_last)


def batches(rows: int, size: int, order: torch.Generator) -> Iterator[Tensor]:
    """Index tensors of one epoch in random order; a last batch that is not full is left out."""
    shuffled = torch.randperm(rows, generator=order)
    for start in range(0, max(1, rows - size + 1), size):
        yield shuffled[start : start + size]


def check(name: str, root: Path) -> Shape:
    """Channels, height and width of the images of a data set, without reading all of it.

    Raises:
        BadInput: it is not under `root`; the message says what to do.
    """
    if name.startswith(FOLDER):
        folder = root / name.removeprefix(FOLDER)
        for part in (folder / "train", folder / "test"):
            if not part.is_dir():
                raise BadInput(
                    f"{name}: there is no folder {part}; expected are train/CLASS/IMAGE and test/CLASS/IMAGE "
                    f"under {folder} (--data-root names another place)"
                )
        channels, height, width = _image(_listing(folder / "train"), 0).shape
        return channels, height, width
    if name == "mnist" and not all(
        (root / "MNIST" / "raw" / f"{part}-ubyte").is_file()
        for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    ):
        raise BadInput(
            f'mnist: it is not under {root}; get it with: python -c "from torchvision.datasets import '
            f"MNIST; MNIST('{root}', download=True)\", or name another place with --data-root"
        )
    return SHAPES[name]


@lru_cache(maxsize=2)
def load(name: str, root: Path, validation_fraction: float, split_seed: int) -> Data:
    """Read a data set and split it: validation is drawn from the training images by `split_seed`.

    Raises:
        BadInput: the data set is missing or cannot be used.
    """
    check(name, root)
    train, test, classes = _read(name, root)
    order = torch.randperm(len(train.labels), generator=generator(split_seed, "validation"))
    held_out = round(len(order) * validation_fraction)
    if not 0 < held_out < len(order):
        raise BadInput(
            f"{name}: validation_fraction {validation_fraction} of {len(order)} training images leaves "
            "nothing for training or for validation"
        )
    validation, train = train.take(order[:held_out]), train.take(order[held_out:])
    pixels = train.images.transpose(0, 1).flatten(1)
    # Integer sums are exact and so the same whatever the order.
    total = pixels.sum(1, dtype=torch.int64).double()
    squares = torch.stack([channel.to(torch.int32).square().sum(dtype=torch.int64) for channel in pixels])
    mean = total / pixels.shape[1]
    deviation = (squares.double() / pixels.shape[1] - mean.square()).sqrt().clamp_min(1e-6)
    return Data(
        train,
        validation,
        test,
        classes,
        mean.float().view(1, -1, 1, 1),
        deviation.float().view(1, -1, 1, 1),
    )


@lru_cache(maxsize=2)
def to(data: Data, device: torch.device) -> Data:
    """The data set on a device, whole."""
    if data.mean.device == device:
        return data
    return replace(
        data,
        train=data.train.to(device),
        validation=data.validation.to(device),
        test=data.test.to(device),
        mean=data.mean.to(device),
        deviation=data.deviation.to(device),
    )


def _digits(root: Path) -> tuple[Split, Split, int]:
    """The 1,797 8×8 images of scikit-learn; it has no test set of its own, so 360 are drawn once for all."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    whole = Split(torch.from_numpy(images).to(torch.uint8).view(-1, 1, 8, 8), torch.from_numpy(labels).long())
    order = torch.randperm(len(labels), generator=generator(0, "digits", "test"))
    return whole.take(order[_DIGITS_TEST:]), whole.take(order[:_DIGITS_TEST]), 10


def _mnist(root: Path) -> tuple[Split, Split, int]:
    from torchvision.datasets import MNIST

    train, test = (MNIST(str(root), train=train, download=False) for train in (True, False))
    return Split(train.data.unsqueeze(1), train.targets), Split(test.data.unsqueeze(1), test.targets), 10


DATASETS: dict[str, Callable[[Path], tuple[Split, Split, int]]] = {"digits": _digits, "mnist": _mnist}
# Known without reading anything, so that a study can be checked before it starts.
SHAPES = {"digits": (1, 8, 8), "mnist": (1, 28, 28)}


def _read(name: str, root: Path) -> tuple[Split, Split, int]:
    if not name.startswith(FOLDER):
        return DATASETS[name](root)
    folder = root / name.removeprefix(FOLDER)
    (train, classes), (test, test_classes) = _images(folder / "train"), _images(folder / "test")
    if classes != test_classes:
        raise BadInput(f"{name}: train and test must have the same class folders")
    if train.images.shape[1:] != test.images.shape[1:]:
        raise BadInput(f"{name}: train and test images differ in size")
    return train, test, len(classes)


def _images(folder: Path) -> tuple[Split, list[str]]:
    listing = _listing(folder)
    images = torch.empty(len(listing), *_image(listing, 0).shape, dtype=torch.uint8)
    for row in range(len(listing)):
        image = _image(listing, row)
        if image.shape != images.shape[1:]:
            path, _ = listing.samples[row]
            raise BadInput(
                f"{path} has {image.shape[2]}×{image.shape[1]} pixels and the images before it "
                f"{images.shape[3]}×{images.shape[2]}: resize all images to one size first"
            )
        images[row] = image
    return Split(images, torch.tensor(listing.targets)), listing.classes


def _listing(folder: Path) -> Any:
    from torchvision.datasets import ImageFolder

    try:
        return ImageFolder(str(folder))
    except FileNotFoundError as error:
        raise BadInput(f"{folder}: {error}") from None


def _image(listing: Any, row: int) -> Tensor:
    """One image of a listing as uint8, (3, H, W)."""
    from torchvision.transforms.functional import pil_to_tensor

    path, _ = listing.samples[row]
    try:
        image: Tensor = pil_to_tensor(listing.loader(path))
        return image
    except OSError as error:  # of Pillow too, for what is no image
        raise BadInput(f"{path}: cannot be read as an image ({error}): remove or replace it") from None

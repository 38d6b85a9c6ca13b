"""Data sets split into train, validation and test by a seed, and their batches on the device."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sweep.data import augmentation, catalog, decoded, reading
from sweep.data.augmentation import AUGMENTATIONS
from sweep.data.catalog import DATASETS, FOLDER
from sweep.data.image_files import Files
from sweep.data.images import Shape
from sweep.errors import BadInput
from sweep.seeds import generator

__all__ = [
    "AUGMENTATIONS",
    "DATASETS",
    "FOLDER",
    "SHAPES",
    "Data",
    "Shape",
    "Sizes",
    "Split",
    "batches",
    "check",
    "load",
    "sizes",
    "to",
]

# Known without reading anything, so that a study can be checked before it starts.
SHAPES = {name: known.shape for name, known in DATASETS.items()}
# Of red, green and blue from 0 to 1: what everyone normalizes ImageNet with since fb.resnet.torch.
_IMAGENET_MEAN, _IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_AT_ONCE = 512  # images that are copied or counted


@dataclass(frozen=True, eq=False)
class Split:
    """Images and labels (N,) as int64, where the labels are on the device that is trained on.

    The images are rows of pixels (M, C, H, W) of uint8, that lie on that device, or in the memory of the
    machine, or in files: `batches` and `take` bring to the device what is asked for.

    Attributes:
        rows: (N,), where the pixels are; None: all, in their order.
    """

    pixels: Tensor | Files
    labels: Tensor
    rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def images(self) -> Tensor:
        """All images at once (N, C, H, W) as uint8, on the device; of image files that would be too many."""
        if isinstance(self.pixels, Files):
            raise TypeError("the images of this data set stay in files: use batches or take")
        return self._read(self._all()) if self.rows is not None else self.pixels.to(self.labels.device)

    def take(self, rows: Tensor) -> "Split":
        """The given rows (n,), read, on the device."""
        return Split(self._read(rows.to(self.pixels.device)), self.labels[rows.to(self.labels.device)])

    def part(self, rows: Tensor) -> "Split":
        """The given rows (n,), not read yet."""
        here = rows.to(self.pixels.device)
        labels = self.labels[rows.to(self.labels.device)]
        return Split(self.pixels, labels, here if self.rows is None else self.rows[here])

    def batches(
        self,
        size: int,
        order: torch.Generator | None = None,
        augment: str = "none",
        start: int = 0,
        stop: int | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (n, C, H, W) as uint8 and labels (n,) of one epoch, batch by batch, on the device.

        Args:
            order: of the CPU; draws the order of the images as `batches` does, and how they are augmented. A
                last batch that is not full is left out. None: all images in their order, not augmented.
            augment: one of `AUGMENTATIONS`. What is drawn for a batch depends on its number alone, not on
                which batches were asked for before.
            start: number of the first batch.
            stop: number of the batch before which to end; None: the end of the epoch.
        """
        kind, home = AUGMENTATIONS[augment], self.pixels.device
        if order is None:
            chunks = list(self._all().split(size))
        else:
            chunks = _full(torch.randperm(len(self), generator=order).to(home), size)
        seeds = None
        if order is not None and augment != "none":
            # Two a batch: of crops that are made on reading, and of what is made of the batch then.
            seeds = torch.randint(2**62, (2, len(chunks)), generator=order)[:, start:stop].tolist()
        crops = isinstance(self.pixels, Files) and self.pixels.crops
        chosen = chunks[start:stop]
        images = self._stream(chosen, seeds[0] if seeds and crops and kind.pad else None)
        for number, (rows, batch) in enumerate(zip(chosen, images, strict=True)):
            if seeds:
                draws = torch.Generator().manual_seed(seeds[1][number])
                batch = augmentation.augment(batch, draws, kind.flip, 0 if crops else kind.pad)
            yield batch, self.labels[rows.to(self.labels.device)]

    def to(self, device: torch.device, whole: bool = True) -> "Split":
        """The same for a device to train on, its images with it unless they stay in files or not `whole`."""
        labels = self.labels.to(device)
        if isinstance(self.pixels, Files) or not whole:
            return replace(self, labels=labels)
        if self.rows is None:
            return Split(self.pixels.to(device), labels)
        images = torch.empty(len(self), *self.pixels.shape[1:], dtype=torch.uint8, device=device)
        # In parts: all these rows copied at once would take as much memory here again.
        for rows, there in zip(self.rows.split(_AT_ONCE), images.split(_AT_ONCE), strict=True):
            there.copy_(self.pixels[rows])
        return Split(images, labels)

    def _all(self) -> Tensor:
        return torch.arange(len(self), device=self.pixels.device)

    def _read(self, rows: Tensor) -> Tensor:
        rows = rows if self.rows is None else self.rows[rows]
        images = self.pixels.read(rows) if isinstance(self.pixels, Files) else self.pixels[rows]
        return images.to(self.labels.device)

    def _stream(self, chunks: list[Tensor], seeds: list[int] | None) -> Iterator[Tensor]:
        if not isinstance(self.pixels, Files):
            return map(self._read, chunks)
        device = self.labels.device
        rows = chunks if self.rows is None else [self.rows[chunk] for chunk in chunks]
        read = self.pixels.stream(rows, seeds, pin=device.type == "cuda")
        return (images.to(device, non_blocking=True) for images in read)


@dataclass(frozen=True, eq=False)
class Data:
    """The three splits of a data set, and what its images are normalized with.

    Training draws from `train`; choices look at `validation`; `test` is only ever reported. `scoring` is
    `train` with its true labels, by which weights are scored even if training sees random ones (SNIP,
    section 5.6).
    """

    train: Split
    validation: Split
    test: Split
    scoring: Split
    classes: int
    mean: Tensor
    deviation: Tensor

    @property
    def shape(self) -> Shape:
        """Channels, height and width of an image."""
        _, channels, height, width = self.train.pixels.shape
        return channels, height, width

    def inputs(self, images: Tensor) -> Tensor:
        """Images as a network takes them: float32, normalized per channel, channels last."""
        inputs = (images.float() - self.mean) / self.deviation
        return inputs.contiguous(memory_format=torch.channels_last)


def batches(rows: int, size: int, order: torch.Generator) -> Iterator[Tensor]:
    """Index tensors of one epoch in random order; a last batch that is not full is left out."""
    yield from _full(torch.randperm(rows, generator=order), size)


def _full(order: Tensor, size: int) -> list[Tensor]:
    chunks = list(order.split(size))
    return chunks if len(chunks) == 1 or len(chunks[-1]) == size else chunks[:-1]


def check(name: str, root: str | Path) -> Shape:
    """Channels, height and width of the images of a data set, without reading all of it.

    Raises:
        BadInput: it is not under `root`; the message says what to do.
    """
    root = catalog.local(name, root)
    catalog.require(name, root)
    return reading.shape(name, root)


class Sizes(NamedTuple):
    """How many images of a data set there are to train, to validate and to test with, and of what kind."""

    train: int
    validation: int
    test: int
    shape: Shape
    classes: int


def sizes(name: str, root: str | Path, validation_fraction: float) -> Sizes:
    """What `load` would give, without the work of it.

    Raises:
        BadInput: the data set is missing or cannot be used.
    """
    root = catalog.local(name, root)
    catalog.require(name, root)
    found = reading.find(name, root)
    train, test = len(found.train[1]), len(found.test[1])
    held_out = _held_out(name, train, validation_fraction)
    _, channels, height, width = found.train[0].shape
    return Sizes(train - held_out, held_out, test, (channels, height, width), found.classes)


def _held_out(name: str, images: int, validation_fraction: float) -> int:
    held_out = round(images * validation_fraction)
    if not 0 < held_out < images:
        raise BadInput(
            f"{name}: validation_fraction {validation_fraction} of {images} training images leaves "
            "nothing for training or for validation"
        )
    return held_out


def _in_proportion(order: Tensor, labels: Tensor, first: int) -> Tensor:
    """The same order with images moved to the front: of each class its share of the first so many.

    Shares are rounded by largest remainders (of equal ones the lower class first), so that they add up.
    Within a class the order stays, so that each of its images is as likely to be among the first.
    """
    counts = labels.bincount()
    # In whole numbers: shares are exact, whatever the number of images.
    shares, remainders = counts * first // len(order), counts * first % len(order)
    rounded_up = remainders.argsort(descending=True, stable=True)[: first - int(shares.sum())]
    shares[rounded_up] += 1
    chosen = torch.zeros(len(order), dtype=torch.bool)
    for label, share in enumerate(shares.tolist()):
        chosen[(labels[order] == label).nonzero().flatten()[:share]] = True
    return torch.cat([order[chosen], order[~chosen]])


@lru_cache(maxsize=2)
def load(
    name: str,
    root: str | Path,
    validation_fraction: float,
    split_seed: int,
    random_labels: bool = False,
    download: bool = False,
    stratified: bool = False,
) -> Data:
    """Find a data set and split it: validation is drawn from the training images by `split_seed`.

    A set that has to be decoded is kept so in ROOT/.secateur and shared by all processes of the machine.
    ImageNet, and image files that would take more than half of the memory that is free, stay in files. That
    changes no image that a trial sees, other than how fast.

    Args:
        root: a folder, or the URI of a prefix, whose data set is copied to this machine once.
        random_labels: shuffle the labels of training and validation images, by `split_seed` too.
        download: get the set first, if it is not there and can be downloaded.
        stratified: draw of each class its share of the validation images, true labels counted.

    Raises:
        BadInput: the data set is missing or cannot be used.
    """
    root = catalog.local(name, root)
    if download:
        catalog.download(name, root)
    catalog.require(name, root)
    found = reading.find(name, root)
    everything = Split(*found.train)
    order = torch.randperm(len(everything), generator=generator(split_seed, "validation"))
    held_out = _held_out(name, len(order), validation_fraction)
    if stratified:
        order = _in_proportion(order, everything.labels, held_out)
    labelled = everything
    if random_labels:
        shuffled = torch.randperm(len(order), generator=generator(split_seed, "labels"))
        labelled = replace(everything, labels=everything.labels[shuffled])
    train = labelled.part(order[held_out:])
    scoring = everything.part(order[held_out:]) if random_labels else train
    if name == "imagenet":
        mean, deviation = torch.tensor(_IMAGENET_MEAN) * 255, torch.tensor(_IMAGENET_DEVIATION) * 255
    elif isinstance(train.pixels, Files):
        # Takes a whole epoch of decoding, once for all.
        by_class = "-stratified" if stratified else ""
        key = f"{found.key}-counts-{validation_fraction}-{split_seed}{by_class}"
        counts = decoded.kept(root, key, ["counts"], lambda: {"counts": _counts(train)})["counts"]
        mean, deviation = _moments(counts)
    else:
        mean, deviation = _moments(_counts(train))
    return Data(
        train,
        labelled.part(order[:held_out]),
        Split(*found.test),
        scoring,
        found.classes,
        mean.view(1, -1, 1, 1),
        deviation.view(1, -1, 1, 1),
    )


@lru_cache(maxsize=2)
def to(data: Data, device: torch.device) -> Data:
    """The data set on a device: whole, if that takes up to half of the memory that is free there."""
    if data.mean.device == device:
        return data
    size = sum(len(split) for split in (data.train, data.validation, data.test)) * math.prod(data.shape)
    fits = size <= reading.room(device)
    train = data.train.to(device, fits)
    return replace(
        data,
        train=train,
        validation=data.validation.to(device, fits),
        test=data.test.to(device, fits),
        scoring=replace(train, labels=data.scoring.labels.to(device)),
        mean=data.mean.to(device),
        deviation=data.deviation.to(device),
    )


def _counts(split: Split) -> Tensor:
    """How often each of the 256 values occurs in each channel, (C, 256): exact whatever the order."""
    counts = torch.zeros(split.pixels.shape[1], 256, dtype=torch.int64)
    for images, _ in split.batches(_AT_ONCE):
        counts += torch.stack([channel.flatten().bincount(minlength=256) for channel in images.unbind(1)])
    return counts


def _moments(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel."""
    values = torch.arange(256)
    pixels = counts[0].sum()
    mean = (counts * values).sum(1).double() / pixels
    deviation = ((counts * values.square()).sum(1).double() / pixels - mean.square()).sqrt().clamp_min(1e-6)
    return mean.float(), deviation.float()

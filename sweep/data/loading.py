"""Find a data set, split it into train, validation and test by a seed, and move it to a device."""

import math
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sweep.data import catalog, decoded, reading
from sweep.data.catalog import DATASETS
from sweep.data.image_files import Files
from sweep.data.splits import Data, Split
from sweep.data.tasks import CLASSIFICATION, TASKS, Form
from sweep.errors import BadInput
from sweep.parts import Arguments
from sweep.seeds import generator

# Shapes known without reading anything, so that a study can be checked before it starts.
SHAPES = {name: dataset.shape for name, dataset in DATASETS.items() if dataset.shape}
# Images that are counted at a time.
_AT_ONCE = 512


def check(name: str, root: str | Path, arguments: Arguments = ()) -> Form:
    """The form of a data set: of one in files without reading all of it, else of what its function gives.

    Args:
        arguments: parameters of the data set's function.

    Raises:
        BadInput: the data set is not under `root`, or cannot be used; the message says what to do.
    """
    root = catalog.local(name, root)
    catalog.require(name, root)
    dataset = catalog.find(name)
    if dataset.give or dataset.text:
        found = reading.find(name, root, arguments)
        return Form.of(found.train[0], found.task)
    return Form(reading.shape(name, root))


class Sizes(NamedTuple):
    """Numbers of inputs in the splits of a data set, their form, and the number of classes or outputs."""

    train: int
    validation: int
    test: int
    form: Form
    classes: int


def sizes(name: str, root: str | Path, validation_fraction: float, arguments: Arguments = ()) -> Sizes:
    """Sizes of the data that `load` would return, without loading it.

    Args:
        arguments: parameters of the data set's function.

    Raises:
        BadInput: the data set is missing or cannot be used.
    """
    root = catalog.local(name, root)
    catalog.require(name, root)
    images = reading.find(name, root, arguments)
    train, test = len(images.train[1]), len(images.test[1])
    held_out = _held_out(name, train, validation_fraction)
    form = Form.of(images.train[0], images.task)
    return Sizes(train - held_out, held_out, test, form, images.classes)


def _held_out(name: str, images: int, validation_fraction: float) -> int:
    """Number of validation images among the training images of a data set."""
    held_out = round(images * validation_fraction)
    if not 0 < held_out < images:
        raise BadInput(
            f"{name}: validation_fraction {validation_fraction} of {images} training images leaves "
            "nothing for training or for validation"
        )
    return held_out


def _order(count: int, draws: torch.Generator, in_order: bool) -> Tensor:
    """The order of inputs, of which the first validate: shuffled, or as they are from a drawn one on."""
    if in_order:
        return torch.arange(count).roll(int(torch.randint(count, (), generator=draws)))
    return torch.randperm(count, generator=draws)


def _in_proportion(order: Tensor, labels: Tensor, first: int) -> Tensor:
    """The order, changed so that each class has its share of the first `first` images.

    Shares are rounded by largest remainders, the lower class first among equal ones, so that they add up.
    Within a class the order stays the same, so that all its images are equally likely to be among the first.
    """
    counts = labels.bincount()
    # In whole numbers, so that shares are exact for any number of images.
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
    *,
    random_labels: bool = False,
    stratified: bool = False,
    arguments: Arguments = (),
) -> Data:
    """Find a data set and split it: validation images are drawn from the training images by `split_seed`.

    A decoded data set is kept in ROOT/.secateur and shared by all processes of the machine. ImageNet, and
    image files that would take more than half of the free memory, stay in files. A trial then sees the same
    images, but reads them more slowly.

    Args:
        root: a folder, or the URI of a prefix in an object store; from there the data set is copied to this
            machine once.
        random_labels: shuffle the targets of training and validation inputs, by `split_seed` too.
        stratified: draw of each class its share of the validation images, by the true labels. Without effect
            for another task than classification.
        arguments: parameters of the data set's function.

    Raises:
        BadInput: the data set is missing or cannot be used.
    """
    root = catalog.local(name, root)
    catalog.require(name, root)
    images = reading.find(name, root, arguments)
    everything = Split(*images.train)
    order = _order(len(everything), generator(split_seed, "validation"), TASKS[images.task].in_order)
    held_out = _held_out(name, len(order), validation_fraction)
    if stratified and images.task == CLASSIFICATION:
        order = _in_proportion(order, everything.labels, held_out)
    labelled = everything
    if random_labels:
        shuffled = torch.randperm(len(order), generator=generator(split_seed, "labels"))
        labelled = replace(everything, labels=everything.labels[shuffled])
    train = labelled.part(order[held_out:])
    scoring = everything.part(order[held_out:]) if random_labels else train
    mean = deviation = None
    if Form.of(train.pixels, images.task).images:
        by_class = "-stratified" if stratified else ""
        key = f"{images.key}-counts-{validation_fraction}-{split_seed}{by_class}"
        mean, deviation = (each.view(1, -1, 1, 1) for each in _normalization(name, train, root, key))
    return Data(
        train,
        labelled.part(order[:held_out]),
        Split(*images.test),
        scoring,
        images.classes,
        mean,
        deviation,
        images.task,
        order[held_out:],
    )


def _normalization(name: str, train: Split, root: Path, key: str) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel of images, (C,): those of the data set, or of its training images.

    Args:
        root, key: where the counts of pixel values are kept, if the images stay in files.
    """
    published = catalog.find(name).normalization
    if published:
        mean, deviation = (torch.tensor(values) * 255 for values in published)
        return mean, deviation
    if isinstance(train.pixels, Files):
        # Counting decodes a whole epoch, so the counts are kept.
        return _moments(decoded.kept(root, key, ["counts"], lambda: {"counts": _counts(train)})["counts"])
    return _moments(_counts(train))


@lru_cache(maxsize=2)
def to(data: Data, device: torch.device) -> Data:
    """The data set for a training device, with its inputs if they take at most half of its free memory."""
    if data.device == device:
        return data
    count = sum(len(split) for split in (data.train, data.validation, data.test))
    size = count * math.prod(data.shape) * data.train.pixels.dtype.itemsize
    fits = size <= reading.room(device)
    train = data.train.to(device, fits)
    return replace(
        data,
        train=train,
        validation=data.validation.to(device, fits),
        test=data.test.to(device, fits),
        scoring=replace(train, labels=data.scoring.labels.to(device)),
        mean=None if data.mean is None else data.mean.to(device),
        deviation=None if data.deviation is None else data.deviation.to(device),
    )


def _counts(split: Split) -> Tensor:
    """How often each of the 256 values occurs in each channel, (C, 256): exact in any order of images."""
    counts = torch.zeros(split.pixels.shape[1], 256, dtype=torch.int64)
    for images, _ in split.batches(_AT_ONCE):
        counts += torch.stack([channel.flatten().bincount(minlength=256) for channel in images.unbind(1)])
    return counts


def _moments(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, (C,), from the counts of its values."""
    values = torch.arange(256)
    pixels = counts[0].sum()
    mean = (counts * values).sum(1).double() / pixels
    deviation = ((counts * values.square()).sum(1).double() / pixels - mean.square()).sqrt().clamp_min(1e-6)
    return mean.float(), deviation.float()

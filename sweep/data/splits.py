"""Inputs and targets of a split, read in batches and moved to the device that is trained on."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from sweep.data import augmentation
from sweep.data.augmentation import AUGMENTATIONS, Augmentation
from sweep.data.image_files import Files
from sweep.data.images import Shape
from sweep.data.tasks import CLASSIFICATION, Form

# Images that are copied at a time.
_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class Split:
    """Inputs and targets of a split. `batches` and `take` read inputs and move them to the training device.

    Attributes:
        pixels: images (M, C, H, W) as uint8: on the training device, in the machine's memory, or in files; or
            other inputs (M, ...) as float32 or int64, or windows of text (M, T) as uint8, not in files.
        labels: targets (N, ...) as the task takes them, on the training device; classes (N,) as int64.
        rows: (N,), the rows of `pixels` that belong to the split, on the device of `pixels`; None: all, in
            their order.
    """

    pixels: Tensor | Files
    labels: Tensor
    rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def images(self) -> Tensor:
        """All images or other inputs, on the training device. `TypeError` if they stay in files."""
        if isinstance(self.pixels, Files):
            raise TypeError("the images of this data set stay in files: use batches or take")
        return self._read(self._all()) if self.rows is not None else self.pixels.to(self.labels.device)

    def take(self, rows: Tensor) -> "Split":
        """A split of the given rows (n,), with their images read and moved to the training device."""
        return Split(self._read(rows.to(self.pixels.device)), self.labels[rows.to(self.labels.device)])

    def part(self, rows: Tensor) -> "Split":
        """A split of the given rows (n,), without reading their images."""
        chosen = rows.to(self.pixels.device)
        labels = self.labels[rows.to(self.labels.device)]
        return Split(self.pixels, labels, chosen if self.rows is None else self.rows[chosen])

    def batches(
        self,
        size: int,
        order: torch.Generator | None = None,
        augment: Augmentation = AUGMENTATIONS["none"],
        start: int = 0,
        stop: int | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch: inputs (n, ...) and targets (n, ...), batch by batch, on the training device.

        Args:
            order: a CPU generator that draws the order of the images and their augmentation. A last batch
                that is not full is left out, unless it is the only one. None: all images in their order, not
                augmented.
            augment: how inputs are altered. The draws for a batch depend on its number alone, not on the
                batches read before it.
            start: number of the first batch.
            stop: number after the last batch; None: the end of the epoch.
        """
        home = self.pixels.device
        if order is None:
            chunks = list(self._all().split(size))
        else:
            chunks = _full(torch.randperm(len(self), generator=order).to(home), size)
        seeds = None
        if order is not None and augment.alters:
            # Two seeds for each batch: for the crops made on reading, and for the augmentation afterwards.
            seeds = torch.randint(2**62, (2, len(chunks)), generator=order)[:, start:stop].tolist()
        crops = isinstance(self.pixels, Files) and self.pixels.crops
        chosen = chunks[start:stop]
        images = self._stream(chosen, seeds[0] if seeds and crops and augment.pad else None)
        for number, (rows, batch) in enumerate(zip(chosen, images, strict=True)):
            if seeds:
                draws = torch.Generator().manual_seed(seeds[1][number])
                batch = (
                    augment.alter(batch, draws)
                    if augment.alter
                    else augmentation.augment(batch, draws, augment.flip, 0 if crops else augment.pad)
                )
            yield batch, self.labels[rows.to(self.labels.device)]

    def to(self, device: torch.device, with_images: bool = True) -> "Split":
        """The split for another training device.

        Args:
            with_images: move the images too, unless they stay in files.
        """
        labels = self.labels.to(device)
        if isinstance(self.pixels, Files) or not with_images:
            return replace(self, labels=labels)
        if self.rows is None:
            return Split(self.pixels.to(device), labels)
        images = torch.empty(len(self), *self.pixels.shape[1:], dtype=self.pixels.dtype, device=device)
        # In parts: indexing all rows at once would take as much memory again on the old device.
        for rows, part in zip(self.rows.split(_AT_ONCE), images.split(_AT_ONCE), strict=True):
            part.copy_(self.pixels[rows])
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
    """The splits of a data set, and the mean and deviation that normalize its images.

    Networks are trained on `train`; settings are chosen by `validation`; results on `test` are only reported.
    `scoring` is `train` with true targets: weights are scored with them even if training uses random labels
    (SNIP, section 5.6).

    Attributes:
        classes: number of classes; of a task without classes, numbers that a network puts out for an input.
        mean, deviation: of each channel, (1, C, 1, 1), for pixel values from 0 to 255; None: the inputs are
            no images.
        task: a name of `sweep.data.tasks:TASKS`.
        places: (N,), of each training input its place among the data set's, on the CPU; None: not known.
    """

    train: Split
    validation: Split
    test: Split
    scoring: Split
    classes: int
    mean: Tensor | None
    deviation: Tensor | None
    task: str = CLASSIFICATION
    places: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """The training device."""
        return self.train.labels.device

    @property
    def form(self) -> Form:
        """What the inputs are, and the task."""
        return Form.of(self.train.pixels, self.task)

    @property
    def shape(self) -> Shape:
        """The shape of one input; of an image channels, height and width."""
        return tuple(self.train.pixels.shape[1:])

    def inputs(self, images: Tensor) -> Tensor:
        """Inputs of a network: images in float32, normalized per channel, in channels-last layout.

        Other real numbers are as they are; whole numbers and bytes of text are int64.
        """
        if self.mean is None or self.deviation is None:
            return images if images.is_floating_point() else images.long()
        inputs = (images.float() - self.mean) / self.deviation
        return inputs.contiguous(memory_format=torch.channels_last)


def _full(order: Tensor, size: int) -> list[Tensor]:
    """Cut an order into batches; a last one that is not full is left out, unless it is the only one."""
    chunks = list(order.split(size))
    return chunks if len(chunks) == 1 or len(chunks[-1]) == size else chunks[:-1]

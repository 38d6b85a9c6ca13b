"""Images that stay in their files, for data sets too large for memory: decoded ahead of the training."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from sweep.data.images import Shape, cropped, sized
from sweep.errors import BadInput

# Largest number of processes that decode images.
_PROCESSES = 8


class Files(Dataset[Tensor | BadInput]):
    """Image files as pixels (N, C, H, W) of uint8, decoded each time they are read.

    Args:
        shape: channels, height and width of every image, or of the crops.
        crops: whether images are of any size, and a crop is cut from each: a random one, or the middle.
    """

    device, dtype = torch.device("cpu"), torch.uint8  # of decoded images

    def __init__(self, paths: Sequence[str], shape: Shape, crops: bool) -> None:
        self.shape = (len(paths), *shape)
        self.crops = crops
        self._paths = paths

    def __getitem__(self, item: tuple[int, int | None]) -> Tensor | BadInput:
        row, seed = item
        try:
            return self._decode(self._paths[row], seed)
        except BadInput as error:  # returned, so that it crosses processes without a traceback
            return error

    def read(self, rows: Tensor) -> Tensor:
        """The images of some rows, (len(rows), C, H, W); crops are taken from the middle."""
        return torch.stack([self._decode(self._paths[row], None) for row in rows.tolist()])

    def stream(self, batches: Iterable[Tensor], seeds: Iterable[int] | None, pin: bool) -> Iterator[Tensor]:
        """The images of batches of rows, in order, decoded ahead by further processes.

        Args:
            seeds: a seed of random crops for each batch; None: crops are taken from the middle.
            pin: put batches into pinned memory, which a GPU can read directly.

        Raises:
            BadInput: an image cannot be read.
        """
        loader: Any = DataLoader(
            self,
            batch_sampler=_items(batches, seeds),
            collate_fn=_collate,
            num_workers=min(_PROCESSES, len(os.sched_getaffinity(0))),
            pin_memory=pin,
            # Without it, the loader would draw (unused) seeds for its processes from the global generator.
            generator=torch.Generator(),
        )
        for batch in loader:
            if isinstance(batch, BadInput):
                break
            yield batch
        else:
            return
        # Raised outside the loop, so that the loader's iterator is released and ends its processes.
        raise batch

    def _decode(self, path: str, seed: int | None) -> Tensor:
        return cropped(path, seed) if self.crops else sized(path, self.shape[1:])


def _collate(images: list[Tensor | BadInput]) -> Tensor | BadInput:
    errors = [image for image in images if isinstance(image, BadInput)]
    return errors[0] if errors else default_collate(images)


def _items(batches: Iterable[Tensor], seeds: Iterable[int] | None) -> Iterator[list[tuple[int, int | None]]]:
    if seeds is None:
        for rows in batches:
            yield [(row, None) for row in rows.tolist()]
    else:
        for rows, seed in zip(batches, seeds, strict=True):
            yield [(row, seed + place) for place, row in enumerate(rows.tolist())]

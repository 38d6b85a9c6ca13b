"""Images that stay in their files, for data sets too large to hold: decoded a batch ahead of the training."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from sweep.data.images import Shape, cropped, sized
from sweep.errors import BadInput

_PROCESSES = 8


class Files(Dataset[Tensor | BadInput]):
    """Image files that are decoded whenever they are asked for, to pixels (N, C, H, W) of uint8.

    Args:
        shape: channels, height and width: of all images, or of what is cut out of each.
        crops: images are of any size, and a part is cut out of each: the middle, or a random one.
    """

    device = torch.device("cpu")  # where decoded images are

    def __init__(self, paths: Sequence[str], shape: Shape, crops: bool) -> None:
        self.shape = (len(paths), *shape)
        self.crops = crops
        self._paths = paths

    def __getitem__(self, item: tuple[int, int | None]) -> Tensor | BadInput:
        row, seed = item
        try:
            return self._decode(self._paths[row], seed)
        except BadInput as error:  # from process to process it goes as a value, without a traceback
            return error

    def read(self, rows: Tensor) -> Tensor:
        """The images of some rows, (len(rows), C, H, W), with nothing random about them."""
        return torch.stack([self._decode(self._paths[row], None) for row in rows.tolist()])

    def stream(self, batches: Iterable[Tensor], seeds: Iterable[int] | None, pin: bool) -> Iterator[Tensor]:
        """The images of batches of rows one after the other, by processes of their own that work ahead.

        Args:
            seeds: of the random crops, one a batch; None for none.
            pin: put batches where a GPU can fetch them by itself.
        """
        loader: Any = DataLoader(
            self,
            batch_sampler=_items(batches, seeds),
            collate_fn=_collate,
            num_workers=min(_PROCESSES, len(os.sched_getaffinity(0))),
            pin_memory=pin,
            # Else its processes' seeds, which nothing uses, are drawn from the global generator.
            generator=torch.Generator(),
        )
        for batch in loader:
            if isinstance(batch, BadInput):
                break
            yield batch
        else:
            return
        # Not within the loop: the loader ends its processes when it is let go of.
        raise batch

    def _decode(self, path: str, seed: int | None) -> Tensor:
        return cropped(path, seed) if self.crops else sized(path, self.shape[1:])


def _collate(images: list[Tensor | BadInput]) -> Tensor | BadInput:
    refused = [image for image in images if isinstance(image, BadInput)]
    return refused[0] if refused else default_collate(images)


def _items(batches: Iterable[Tensor], seeds: Iterable[int] | None) -> Iterator[list[tuple[int, int | None]]]:
    if seeds is None:
        for rows in batches:
            yield [(row, None) for row in rows.tolist()]
    else:
        for rows, seed in zip(batches, seeds, strict=True):
            yield [(row, seed + place) for place, row in enumerate(rows.tolist())]

"""Images that stay in their files, for data sets too large to hold: decoded a batch ahead of the training."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from sweep.errors import BadInput

Shape = tuple[int, int, int]
# ImageNet's usual sizes: a crop of 224 pixels, out of the image with its shorter side at 256 when nothing is
# random (He et al. 2016, section 3.4).
CROPPED: Shape = (3, 224, 224)
_SHORTER_SIDE = 256
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


def pixels(path: str) -> Tensor:
    """An image file as RGB, (3, H, W) as uint8.

    Raises:
        BadInput: it is no image.
    """
    from torchvision.transforms.functional import pil_to_tensor

    image: Tensor = pil_to_tensor(_opened(path))
    return image


def sized(path: str, shape: Shape) -> Tensor:
    """An image file as RGB, (3, H, W) as uint8, if it is of this shape.

    Raises:
        BadInput: it is not, or no image.
    """
    image = pixels(path)
    if image.shape != shape:
        raise BadInput(
            f"{path} has {image.shape[2]}×{image.shape[1]} pixels and the images before it "
            f"{shape[2]}×{shape[1]}: resize all images to one size first"
        )
    return image


def cropped(path: str, seed: int | None = None) -> Tensor:
    """A part of an image file, 224 pixels high and wide: a random one, or the middle without a seed."""
    from torchvision import transforms
    from torchvision.transforms.functional import pil_to_tensor

    image, size = _opened(path), CROPPED[1:]
    if seed is None:
        image = transforms.CenterCrop(size)(transforms.Resize(_SHORTER_SIDE)(image))
    else:
        # Torchvision draws from the global generator, which is put back as it was.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            image = transforms.RandomResizedCrop(size)(image)
    result: Tensor = pil_to_tensor(image)
    return result


def _opened(path: str) -> Any:
    from torchvision.datasets.folder import default_loader

    try:
        return default_loader(path)
    except OSError as error:  # of Pillow too, for what is no image
        raise BadInput(f"{path}: cannot be read as an image ({error}): remove or replace it") from None

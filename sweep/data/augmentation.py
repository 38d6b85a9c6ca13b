"""Random flips and crops of batches of images, on the device of the images."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sweep import parts
from sweep.parts import Arguments


class Augmentation(NamedTuple):
    """Random changes of an image: a mirror image, and a crop of the padded image; or a function.

    Attributes:
        flip: mirror half of the images, left to right.
        pad: black pixels on each side of an image, from which a crop of the image's own size is cut.
        alter: inputs (N, ...) of a batch and a generator of the CPU → new inputs of the same form.
    """

    flip: bool = False
    pad: int = 0
    alter: Callable[[Tensor, torch.Generator], Tensor] | None = None

    @property
    def alters(self) -> bool:
        """Whether it changes anything."""
        return self.flip or bool(self.pad or self.alter)


# `crop` is for data sets such as MNIST: mirrored digits and letters mean something else or nothing. Most work
# on CIFAR pads 32 pixels by 4, as He et al. (2016), section 4.2, do.
AUGMENTATIONS = {
    "none": Augmentation(),
    "flip": Augmentation(flip=True),
    "crop": Augmentation(pad=4),
    "flip-crop": Augmentation(flip=True, pad=4),
}


def find(name: str, arguments: Arguments = ()) -> Augmentation:
    """The augmentation of a name: one of `AUGMENTATIONS`, or a part.

    Args:
        arguments: parameters of the part.
    """
    if name in AUGMENTATIONS:
        return AUGMENTATIONS[name]
    return Augmentation(alter=parts.bind(parts.need(name), arguments))


def augment(images: Tensor, generator: torch.Generator, flip: bool, pad: int) -> Tensor:
    """Pad every image with black, cut a random crop of its own size, and mirror half of the images.

    Args:
        images: (N, C, H, W), uint8, on any device; they are not changed.
        generator: of the CPU for images on any device, so that the draws are the same on all.
        flip, pad: as in `Augmentation`.

    Returns:
        New images of the same shape, on the same device.
    """
    count, channels, height, width = images.shape
    top, left = torch.randint(2 * pad + 1, (2, count, 1), generator=generator).to(images.device)
    rows, columns = top + _counted(height, images), left + _counted(width, images)
    if flip:
        mirrored = torch.randint(2, (count, 1), generator=generator, dtype=torch.bool).to(images.device)
        columns = torch.where(mirrored, columns.flip(1), columns)
    # One gather crops and mirrors: twice as fast as choosing among views of all crops, six times as fast as
    # indexing by rows and columns.
    padded = F.pad(images, (pad, pad, pad, pad))
    places = rows.unsqueeze(2) * (width + 2 * pad) + columns.unsqueeze(1)
    chosen = places.view(count, 1, -1).expand(-1, channels, -1)
    return padded.flatten(2).gather(2, chosen).view_as(images)


def _counted(size: int, like: Tensor) -> Tensor:
    return torch.arange(size, device=like.device)

"""Random flips and crops of whole batches, on the device where they lie."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Augmentation(NamedTuple):
    """What is drawn anew for every image: a mirror image or not, and a place in its padded self.

    Attributes:
        flip: mirror half of the images, left to right.
        pad: pixels of black around an image of which a part of the image's own size is cut out.
    """

    flip: bool
    pad: int


# Mirrored digits and letters are other signs or none, so that sets like MNIST are cropped only. Four pixels
# on 32 are what most work on CIFAR does since He et al. (2016), section 4.2.
AUGMENTATIONS = {
    "none": Augmentation(False, 0),
    "flip": Augmentation(True, 0),
    "crop": Augmentation(False, 4),
    "flip-crop": Augmentation(True, 4),
}


def augment(images: Tensor, generator: torch.Generator, flip: bool, pad: int) -> Tensor:
    """Cut every image at random out of itself with `pad` black pixels around it, and mirror half of them.

    Args:
        images: (N, C, H, W), uint8, on any device; it is not written to.
        generator: of the CPU, whatever the device of the images, so that the draws are the same on all.

    Returns:
        New images of the same shape, on the same device.
    """
    count, channels, height, width = images.shape
    top, left = torch.randint(2 * pad + 1, (2, count, 1), generator=generator).to(images.device)
    rows, columns = top + _counted(height, images), left + _counted(width, images)
    if flip:
        mirrored = torch.randint(2, (count, 1), generator=generator, dtype=torch.bool).to(images.device)
        columns = torch.where(mirrored, columns.flip(1), columns)
    # One gather does both: twice as fast as views of all crops to choose from, six times as fast as indexing
    # by rows and columns.
    padded = F.pad(images, (pad, pad, pad, pad))
    places = rows.unsqueeze(2) * (width + 2 * pad) + columns.unsqueeze(1)
    chosen = places.view(count, 1, -1).expand(-1, channels, -1)
    return padded.flatten(2).gather(2, chosen).view_as(images)


def _counted(size: int, like: Tensor) -> Tensor:
    return torch.arange(size, device=like.device)

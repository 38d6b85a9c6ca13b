"""An image file as pixels of 8 bits in red, green and blue; or a `BadInput` if it cannot be used."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sweep.errors import BadInput

# Channels, height and width of an image; of other inputs their own dimensions.
Shape = tuple[int, ...]
# ImageNet's usual sizes: crops of 224 pixels, the ones from the middle after the image's shorter side is
# resized to 256 (He et al. 2016, section 3.4).
CROPPED: Shape = (3, 224, 224)
_SHORTER_SIDE = 256
# The formats of file names that count as images, and GIF, which the web serves under any name. Some of
# Pillow's other formats start a program (EPS starts Ghostscript).
_FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")
_TIFF_BITS, _TIFF_COMPRESSION, _TIFF_PHOTOMETRIC, _TIFF_PLANES = 258, 259, 262, 284  # numbers of TIFF tags


def header(path: str) -> tuple[Shape, bool]:
    """The shape of an image as `pixels` returns it, and whether grey levels of more than 8 bits are reduced.

    No pixel is decoded.

    Raises:
        BadInput: the file is no image, or its header is one that `pixels` refuses.
    """
    with _opened(path) as image:
        return (3, image.height, image.width), _bits(path, image) > 8


def pixels(path: str) -> Tensor:
    """An image file as RGB, (3, H, W) as uint8; grey levels of more than 8 bits are cut to their leading 8.

    Raises:
        BadInput: the file is no image, or its header does not tell which values are black and white.
    """
    from torchvision.transforms.functional import pil_to_tensor

    image: Tensor = pil_to_tensor(_rgb(path))
    return image


def sized(path: str, shape: Shape) -> Tensor:
    """An image file as `pixels` returns it, with its shape checked.

    Raises:
        BadInput: the image has another shape, or `pixels` refuses it.
    """
    image = pixels(path)
    if image.shape != shape:
        raise BadInput(
            f"{path} has {image.shape[2]}×{image.shape[1]} pixels and the images before it "
            f"{shape[2]}×{shape[1]}: resize all images to one size first"
        )
    return image


def cropped(path: str, seed: int | None = None) -> Tensor:
    """A crop of an image file, (3, 224, 224) as uint8: a random one, or the middle without a seed.

    Raises:
        BadInput: `pixels` refuses the file.
    """
    from torchvision import transforms
    from torchvision.transforms.functional import pil_to_tensor

    image, size = _rgb(path), CROPPED[1:]
    if seed is None:
        image = transforms.CenterCrop(size)(transforms.Resize(_SHORTER_SIDE)(image))
    else:
        # Torchvision draws from the global generator, whose state is restored.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            image = transforms.RandomResizedCrop(size)(image)
    result: Tensor = pil_to_tensor(image)
    return result


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    """Pillow's image of a file, with its header read; an error inside the context becomes `BadInput`."""
    from PIL import Image, UnidentifiedImageError

    try:
        if not Path(path).is_file():  # opening a pipe would wait for a writer
            raise BadInput(f"{path}: there is no regular file: put an image there, or remove what is there")
        with warnings.catch_warnings(), Path(path).open("rb") as file:
            # Pillow's other warnings are about metadata and transparency, which are not used.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=_FORMATS) as image:
                yield image
    except BadInput:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise BadInput(
            f"{path}: has more than {Image.MAX_IMAGE_PIXELS} pixels, as decompression bombs have: "
            "resize or remove it"
        ) from None
    except Exception as error:  # Pillow raises many kinds for a damaged file
        # Pillow's message for a file in no known format only repeats the file's name.
        why = (
            ""
            if isinstance(error, UnidentifiedImageError)
            else f" ({' '.join(str(error).split()) or type(error).__name__})"
        )
        raise BadInput(
            f"{path}: cannot be read as an image{why}: remove it, or put there one of {', '.join(_FORMATS)}"
        ) from None


def _rgb(path: str) -> Any:
    from PIL import Image

    with _opened(path) as image:
        if (bits := _bits(path, image)) > 8:
            levels = np.asarray(image)
            # Pillow does the same with colors of 16 bits.
            leading = (levels >> (bits - 8)).astype(np.uint8)
            if levels.any() and not leading.any():
                raise BadInput(
                    f"{path}: its values of {bits} bits are all below {1 << (bits - 8)}, which is black: "
                    f"save it with 8 bits, or multiply them so that white is {(1 << bits) - 1}"
                )
            image = Image.fromarray(leading)
        return image.convert("RGB")


def _bits(path: str, image: Any) -> int:
    """Bits of a grey level in the file; 8 for all images that Pillow itself reduces to 8 bits."""
    tags = image.tag_v2 if image.format == "TIFF" else {}
    bits = tags.get(_TIFF_BITS, (8,))
    if image.mode not in ("I", "F") and not image.mode.startswith("I;"):
        # Pillow reads uncompressed planes as planes of 8 bits.
        if max(bits) == 8 or tags.get(_TIFF_PLANES) != 2 or tags.get(_TIFF_COMPRESSION) != 1:
            return 8
        raise BadInput(
            f"{path}: is a TIFF of {max(bits)} bits with its colors in planes, uncompressed: save it as a PNG"
        )
    if (image.format, image.mode) in (("PNG", "I;16"), ("PPM", "I")):  # for any white of a PPM
        return 16
    # 1: black is 0; with a 0 in its place, white is 0.
    if image.mode.startswith("I;16") and tags.get(_TIFF_PHOTOMETRIC) == 1:
        return int(bits[0])
    raise BadInput(
        f"{path}: no header says which of its values ({image.format}, {image.mode}) are black and white: "
        "save it with 8 bits, or with 16 bits without sign, black 0 and white 65535"
    )

"""A contact sheet: the first images of a data set with their targets, as a PNG file."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.errors import BadInput

_COLUMNS, _ROWS = 8, 8
# Smaller images are enlarged by a whole number to about this side, in pixels.
_SIDE = 64
_TEXT, _GAP = 12, 4


def images(inputs: NDArray[Any]) -> NDArray[np.uint8] | None:
    """The first inputs as images of 8 bits, (N, H, W, 3); None: they are no images.

    Numbers of other types than uint8 are stretched from their lowest to their highest value.
    """
    some = channels_first(inputs[: _COLUMNS * _ROWS])
    if some is None:
        return None
    if some.dtype != np.uint8:
        some = np.nan_to_num(some.astype(float))
        low, high = some.min(), some.max()
        some = ((some - low) / ((high - low) or 1) * 255).astype(np.uint8)
    colors = np.broadcast_to(some, (len(some), 3, *some.shape[2:]))
    return np.ascontiguousarray(colors.transpose(0, 2, 3, 1))


def channels_first(inputs: NDArray[Any]) -> NDArray[Any] | None:
    """The inputs as (N, C, H, W), C 1 or 3; None: they are no images.

    Args:
        inputs: images are (N, H, W), (N, C, H, W) or (N, H, W, C).
    """
    if inputs.ndim == 3:
        inputs = inputs[:, None]
    if inputs.ndim != 4:
        return None
    if inputs.shape[1] not in (1, 3):
        inputs = inputs.transpose(0, 3, 1, 2)
    return inputs if inputs.shape[1] in (1, 3) else None


def save_sheet(path: Path, pictures: NDArray[np.uint8], targets: NDArray[Any]) -> None:
    """Write the images in rows of eight, each with its target below if that is one number.

    Raises:
        BadInput: the file cannot be written.
    """
    from PIL import Image, ImageDraw

    _, height, width, _ = pictures.shape
    scale = max(1, _SIDE // max(height, width))
    across, down = width * scale + _GAP, height * scale + _TEXT + _GAP
    rows = -(-len(pictures) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * across + _GAP, rows * down + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for number, picture in enumerate(pictures):
        left, top = _GAP + number % _COLUMNS * across, _GAP + number // _COLUMNS * down
        enlarged = Image.fromarray(picture).resize((width * scale, height * scale), Image.Resampling.NEAREST)
        sheet.paste(enlarged, (left, top))
        if targets[number].size == 1:
            draw.text((left, top + height * scale), f"{targets[number].item():.4g}", fill="black")
    try:
        sheet.save(path, "PNG")
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from None

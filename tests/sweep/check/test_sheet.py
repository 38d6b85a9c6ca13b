"""A contact sheet has the images of any usual layout, enlarged, in rows of eight."""

import numpy as np
import pytest
from PIL import Image

from sweep.check.sheet import channels_first, images, save_sheet
from sweep.errors import BadInput


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 9, 7), (5, 1, 9, 7)),
        ((5, 1, 9, 7), (5, 1, 9, 7)),
        ((5, 3, 9, 7), (5, 3, 9, 7)),
        ((5, 9, 7, 3), (5, 3, 9, 7)),
        ((5, 9, 7, 4), None),
        ((5, 12), None),
        ((5, 3, 2, 2, 2), None),
    ],
)
def test_images_of_every_usual_layout_are_recognized(shape, expected):
    found = channels_first(np.zeros(shape))
    assert (None if found is None else found.shape) == expected


def test_real_numbers_are_stretched_and_bytes_are_not():
    real = np.array([[[-1.0, 1.0], [0.0, np.nan]]])
    assert images(real)[0, ..., 0].tolist() == [[0, 255], [127, 127]]
    assert images(np.ones((1, 2, 2), np.uint8))[0, ..., 0].max() == 1
    assert images(np.zeros((1, 2, 2))).max() == 0


def test_the_file_has_eight_images_in_a_row(tmp_path):
    pictures = np.full((10, 16, 16, 3), 200, np.uint8)
    save_sheet(tmp_path / "sheet.png", pictures, np.arange(10))
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet.size == (8 * (64 + 4) + 4, 2 * (64 + 12 + 4) + 4)
    assert sheet.getpixel((10, 10)) == (200, 200, 200)


def test_a_file_that_cannot_be_written_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="No such file or directory"):
        save_sheet(tmp_path / "none" / "sheet.png", np.zeros((1, 4, 4, 3), np.uint8), np.zeros(1))

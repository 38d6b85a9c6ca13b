import time

import pytest
import torch
import torch.nn.functional as F

from sweep.data.augmentation import AUGMENTATIONS, augment
from sweep.seeds import generator


def images(count=64, channels=3, height=8, width=6):
    return torch.randint(1, 256, (count, channels, height, width), generator=generator(0, "images")).byte()


def written_out(images, generator, flip, pad):
    """The same, image by image and pixel by pixel."""
    count, _, height, width = images.shape
    top, left = torch.randint(2 * pad + 1, (2, count, 1), generator=generator)
    mirrored = (
        torch.randint(2, (count, 1), generator=generator, dtype=torch.bool) if flip else [False] * count
    )
    result = torch.zeros_like(images)
    for i in range(count):
        for y in range(height):
            for x in range(width):
                row = int(top[i]) + y - pad
                column = int(left[i]) + (width - 1 - x if mirrored[i] else x) - pad
                if 0 <= row < height and 0 <= column < width:
                    result[i, :, y, x] = images[i, :, row, column]
    return result


@pytest.mark.parametrize(("flip", "pad"), [(False, 0), (True, 0), (False, 2), (True, 4), (True, 9)])
@pytest.mark.parametrize("channels", [1, 3])
def test_batches_are_augmented_as_written_out_image_by_image(flip, pad, channels):
    whole = images(channels=channels)
    found = augment(whole, generator(1), flip, pad)
    assert torch.equal(found, written_out(whole, generator(1), flip, pad))
    assert found.dtype == torch.uint8 and found.shape == whole.shape


def test_an_image_is_left_as_it_is_mirrored_or_moved_and_the_batch_is_not_written_to():
    whole = images(2000)
    before = whole.clone()
    flipped = augment(whole, generator(0), True, 0)
    same = (flipped == whole).flatten(1).all(1)
    assert torch.equal(flipped[~same], whole[~same].flip(3))
    assert 900 < same.sum() < 1100
    cropped = augment(whole, generator(0), False, 1)
    # One of nine places; black where the image was moved out of: every pixel of these images is above 0.
    kept = (cropped == whole).flatten(1).all(1)
    assert 2000 / 9 * 0.7 < kept.sum() < 2000 / 9 * 1.3
    padded = F.pad(whole, (1, 1, 1, 1))
    places = [padded[:, :, y : y + 8, x : x + 6] for y in range(3) for x in range(3)]
    found = torch.stack([(cropped == place).flatten(1).all(1) for place in places])
    assert found.any(0).all() and (found.sum(1) > 150).all()
    assert torch.equal(whole, before)


def test_draws_follow_the_generator_alone():
    whole = images()
    state = torch.get_rng_state()
    one, same, other = (augment(whole, generator(seed), True, 4) for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_batch_on_another_device_is_drawn_for_in_the_same_way():
    drawn = generator(0)
    augment(images(), drawn, True, 4)
    elsewhere = generator(0)
    assert augment(images().to("meta"), elsewhere, True, 4).device.type == "meta"
    assert torch.equal(drawn.get_state(), elsewhere.get_state())


def test_kinds_are_what_their_names_say():
    assert {name: (bool(kind.flip), bool(kind.pad)) for name, kind in AUGMENTATIONS.items()} == {
        "none": (False, False),
        "flip": (True, False),
        "crop": (False, True),
        "flip-crop": (True, True),
    }


def test_a_batch_costs_far_less_than_a_loop_over_its_images():
    whole = images(128, 3, 32, 32)

    def seconds(work):
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    def loop():
        draws = generator(0)
        for image in whole:
            top, left = torch.randint(9, (2,), generator=draws).tolist()
            image = F.pad(image, (4, 4, 4, 4))[:, top : top + 32, left : left + 32]
            image.flip(2) if torch.rand((), generator=draws) < 0.5 else image.clone()

    batch = min(seconds(lambda: augment(whole, generator(0), True, 4)) for _ in range(20))
    assert batch * 2 < min(seconds(loop) for _ in range(20))

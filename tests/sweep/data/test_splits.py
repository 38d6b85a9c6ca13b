import pytest
import torch

from sweep import data
from sweep.data import augmentation
from sweep.seeds import generator


def test_a_part_of_images_on_another_device_lies_there_too(tmp_path):
    whole = data.load("digits", tmp_path, 0.1, 0)
    there = whole.test.to(torch.device("meta"))
    for split in (there, there.part(torch.arange(100))):
        part = split.part(torch.arange(3))
        assert part.rows.is_meta and part.labels.is_meta and part.labels.shape == (3,)


def test_an_epoch_has_full_batches_of_different_rows_unless_there_are_too_few():
    images = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1)
    split = data.Split(images, torch.arange(10))
    found = [labels for _, labels in split.batches(4, generator(0, "order", 0))]
    assert [len(batch) for batch in found] == [4, 4]
    assert len(set(torch.cat(found).tolist())) == 8
    few = split.part(torch.arange(3))
    assert [len(labels) for _, labels in few.batches(4, generator(0, "order", 0))] == [3]


def test_batches_are_the_rows_of_the_order_and_then_all_in_their_order(tmp_path):
    train = data.load("digits", tmp_path, 0.1, 0).train
    found = list(train.batches(100, generator(0, "order", 0)))
    drawn = torch.randperm(len(train), generator=generator(0, "order", 0)).split(100)[:12]
    assert len(found) == len(drawn) == 12
    for (images, labels), chosen in zip(found, drawn, strict=True):
        assert torch.equal(images, train.images[chosen]) and torch.equal(labels, train.labels[chosen])
        assert torch.equal(images, train.take(chosen).images)
    images, labels = zip(*train.batches(100), strict=True)
    assert [len(batch) for batch in labels] == [100] * 12 + [93]
    assert torch.equal(torch.cat(images), train.images) and torch.equal(torch.cat(labels), train.labels)


@pytest.mark.parametrize("augment", data.AUGMENTATIONS)
def test_a_batch_is_the_same_whichever_batch_an_epoch_begins_with(tmp_path, augment):
    train = data.load("digits", tmp_path, 0.1, 0).train
    whole = list(train.batches(100, generator(0), augmentation.find(augment)))
    some = list(train.batches(100, generator(0), augmentation.find(augment), start=3, stop=5))
    assert len(some) == 2
    for (images, labels), (same, also) in zip(whole[3:5], some, strict=True):
        assert torch.equal(images, same) and torch.equal(labels, also)
    plain = list(train.batches(100, generator(0)))
    for (images, labels), (before, also) in zip(whole, plain, strict=True):
        assert torch.equal(images, before) == (augment == "none") and torch.equal(labels, also)


def test_every_batch_and_every_epoch_is_augmented_in_another_way(tmp_path):
    blank = data.Split(torch.full((8, 1, 9, 9), 255, dtype=torch.uint8), torch.zeros(8, dtype=torch.int64))
    order = generator(0)
    found = [images for _ in range(2) for images, _ in blank.batches(4, order, augmentation.find("crop"))]
    assert len({tuple(images.flatten().tolist()) for images in found}) == 4


def test_a_split_on_another_device_gives_batches_there(tmp_path):
    whole = data.load("digits", tmp_path, 0.1, 0)
    for there in (data.to(whole, torch.device("meta")), whole):
        device = there.mean.device
        for images, labels in there.train.batches(100, generator(0), augmentation.find("crop")):
            assert images.device == labels.device == device and images.shape == (100, 1, 8, 8)
            assert there.inputs(images).device == device
        assert there.scoring.labels.device == there.test.images.device == there.train.pixels.device == device


def test_splits_share_the_pixels_they_are_parts_of(tmp_path):
    whole = data.load("digits", tmp_path, 0.1, 0)
    assert whole.train.pixels is whole.validation.pixels is whole.scoring.pixels
    part = whole.validation.part(torch.tensor([5, 3]))
    assert torch.equal(part.images, whole.validation.images[[5, 3]])
    assert torch.equal(part.labels, whole.validation.labels[[5, 3]])

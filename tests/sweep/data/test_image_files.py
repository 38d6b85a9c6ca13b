import random
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from sweep import data
from sweep.data import augmentation, decoded, loading, reading
from sweep.errors import BadInput
from sweep.seeds import generator


@pytest.fixture(autouse=True)
def fresh():
    reading.find.cache_clear()
    data.load.cache_clear()


@pytest.fixture
def pets(tmp_path):
    """An image folder of 2 classes, 12 train and 4 test images each, 6 × 5 pixels, every one different."""
    source = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 4)):
        for name in ("cat", "dog"):
            folder = tmp_path / "pets" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(source.integers(0, 256, (5, 6, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return tmp_path


@pytest.fixture
def imagenet(tmp_path):
    """Images of many sizes, whose red grows from left to right, green from top to bottom, and blue is the class."""
    for part, count in (("train", 6), ("val", 2)):
        for label, name in enumerate(("n01", "n02")):
            folder = tmp_path / "imagenet" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                height, width = 240 + 20 * i, 400 - 30 * i
                image = np.zeros((height, width, 3), dtype=np.uint8)
                image[..., 0] = np.linspace(0, 255, width)
                image[..., 1] = np.linspace(0, 255, height)[:, None]
                image[..., 2] = 200 * label
                Image.fromarray(image).save(folder / f"{i}.JPEG", quality=95)
    return tmp_path


def both(root, monkeypatch, **options):
    """The same data set held and in files."""
    held = data.load("image-folder:pets", root, 0.25, 0, **options)
    reading.find.cache_clear()
    data.load.cache_clear()
    monkeypatch.setattr(reading, "room", lambda device: 0)
    return held, data.load("image-folder:pets", root, 0.25, 0, **options)


@pytest.mark.slow
def test_images_too_large_to_hold_are_the_same_batches_from_their_files(pets, monkeypatch):
    held, streamed = both(pets, monkeypatch)
    assert isinstance(held.train.pixels, torch.Tensor) and not isinstance(streamed.train.pixels, torch.Tensor)
    assert streamed.shape == held.shape == (3, 5, 6) and streamed.classes == 2
    assert torch.equal(streamed.mean, held.mean) and torch.equal(streamed.deviation, held.deviation)
    for augment in data.AUGMENTATIONS:
        one = list(held.train.batches(4, generator(0, "order"), augmentation.find(augment)))
        other = list(streamed.train.batches(4, generator(0, "order"), augmentation.find(augment)))
        assert len(one) == len(other) == 4
        for (images, labels), (same, also) in zip(one, other, strict=True):
            assert torch.equal(images, same) and torch.equal(labels, also)
    for part in ("train", "validation", "test"):
        one, other = getattr(held, part), getattr(streamed, part)
        assert torch.equal(one.images, torch.cat([images for images, _ in other.batches(3)]))
        assert torch.equal(one.labels, other.labels)
        rows = torch.tensor([2, 0])
        assert torch.equal(one.take(rows).images, other.take(rows).images)


def test_files_are_never_read_whole(pets, monkeypatch):
    _, streamed = both(pets, monkeypatch)
    with pytest.raises(TypeError, match="stay in files"):
        _ = streamed.train.images


@pytest.mark.slow
def test_what_they_are_normalized_with_is_counted_once_for_all(pets, monkeypatch):
    _, streamed = both(pets, monkeypatch)
    data.load.cache_clear()
    monkeypatch.setattr(loading, "_counts", None)
    again = data.load("image-folder:pets", pets, 0.25, 0)
    assert torch.equal(again.mean, streamed.mean)
    kept = {path.name.rpartition(".")[2] or path.name for path in (pets / decoded.FOLDER).glob("*counts*")}
    assert len(kept) == 2


def test_a_file_that_is_no_image_is_one_line_with_its_name_before_anything_is_read(pets, monkeypatch):
    monkeypatch.setattr(reading, "room", lambda device: 0)
    (pets / "pets" / "test" / "dog" / "0.png").write_text("not at all")
    with pytest.raises(BadInput, match=r"^\S*dog/0\.png: cannot be read as an image") as error:
        data.load("image-folder:pets", pets, 0.25, 0)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_file_that_ends_too_soon_is_one_line_with_its_name(pets, monkeypatch):
    monkeypatch.setattr(reading, "room", lambda device: 0)
    file = pets / "pets" / "test" / "dog" / "0.png"
    file.write_bytes(file.read_bytes()[:60])
    streamed = data.load("image-folder:pets", pets, 0.25, 0)
    with pytest.raises(BadInput, match=r"^\S*dog/0\.png: cannot be read as an image") as error:
        list(streamed.test.batches(3))
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_images_of_16_bits_are_the_same_held_and_from_their_files(pets, monkeypatch):
    for file in (pets / "pets").rglob("*.png"):
        grey = np.asarray(Image.open(file).convert("L")).astype(np.uint16)
        Image.fromarray(grey * 257).save(file)
    held, streamed = both(pets, monkeypatch)
    assert len(held.train.images.unique()) > 100
    for part in ("train", "validation", "test"):
        images = torch.cat([images for images, _ in getattr(streamed, part).batches(3)])
        assert torch.equal(getattr(held, part).images, images)
    assert torch.equal(streamed.mean, held.mean) and torch.equal(streamed.deviation, held.deviation)


def test_counts_of_clipped_images_that_an_earlier_version_kept_are_not_believed(pets, monkeypatch):
    for file in (pets / "pets").rglob("*.png"):
        Image.fromarray(np.full((5, 6), 128 << 8, dtype=np.uint16)).save(file)
    train, test, _ = reading.listing("image-folder:pets", pets)
    plain = f"pets-{decoded.fingerprint(pets, train + test)}"
    clipped = torch.zeros(3, 256, dtype=torch.int64)
    clipped[:, 255] = 540
    decoded.kept(pets, f"{plain}-counts-0.25-0", ["counts"], lambda: {"counts": clipped})
    monkeypatch.setattr(reading, "room", lambda device: 0)
    assert data.load("image-folder:pets", pets, 0.25, 0).mean.flatten().tolist() == [128] * 3


@pytest.mark.slow
def test_an_image_of_another_size_is_one_line_with_both(pets, monkeypatch):
    monkeypatch.setattr(reading, "room", lambda device: 0)
    Image.new("RGB", (9, 9)).save(pets / "pets" / "test" / "dog" / "0.png")
    streamed = data.load("image-folder:pets", pets, 0.25, 0)
    with pytest.raises(BadInput, match=r"^\S*0\.png has 9×9 pixels and the images before it 6×5"):
        list(streamed.test.batches(3))


@pytest.mark.slow
def test_imagenet_is_evaluated_on_the_middle_of_its_images(imagenet):
    assert data.check("imagenet", imagenet).shape == (3, 224, 224)
    whole = data.load("imagenet", imagenet, 0.25, 0)
    assert whole.shape == (3, 224, 224) and whole.classes == 2
    assert [len(split) for split in (whole.train, whole.validation, whole.test)] == [9, 3, 4]
    ((images, labels),) = whole.test.batches(8)
    assert images.dtype == torch.uint8 and labels.tolist() == [0, 0, 1, 1]
    usual = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.PILToTensor()])
    files = sorted((imagenet / "imagenet" / "val").rglob("*.JPEG"))
    for image, file in zip(images, files, strict=True):
        assert torch.equal(image, usual(Image.open(file).convert("RGB")))
    assert not (imagenet / decoded.FOLDER).exists()


@pytest.mark.slow
def test_imagenet_is_normalized_as_usual(imagenet):
    whole = data.load("imagenet", imagenet, 0.25, 0)
    ((images, _),) = whole.test.batches(8)
    usual = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert torch.allclose(whole.inputs(images), usual(images / 255), atol=1e-5)


def ways(images):
    """Whether red grows from left to right, by image."""
    return images[:, 0, :, -1].float().mean(1) > images[:, 0, :, 0].float().mean(1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("augment", "crops", "flips"),
    [("none", False, False), ("flip", False, True), ("crop", True, False), ("flip-crop", True, True)],
)
def test_imagenet_is_augmented_as_the_name_says(imagenet, augment, crops, flips):
    train = data.load("imagenet", imagenet, 0.25, 0).train
    plain = {image.sum().item() for image, _ in train.batches(1)}
    images, blue = [], []
    for seed in range(4):
        for batch, labels in train.batches(3, generator(seed, "order"), augmentation.find(augment)):
            images.append(batch)
            blue += (batch[:, 2].float().mean((1, 2)) - 200 * labels).tolist()
    images = torch.cat(images)
    assert images.shape == (36, 3, 224, 224) and max(map(abs, blue)) < 3
    assert (ways(images).float().mean().item() < 1) == flips
    # The middle and its mirror image have the same sums; random parts differ in all of them.
    assert all(image.sum().item() in plain for image in images) != crops


@pytest.mark.slow
def test_random_parts_follow_the_seed_and_the_batch_but_not_the_processes(imagenet, monkeypatch):
    train = data.load("imagenet", imagenet, 0.25, 0).train

    def epoch(seed, **some):
        return [
            images
            for images, _ in train.batches(
                3, generator(seed, "order"), augmentation.find("flip-crop"), **some
            )
        ]

    one = epoch(0)
    assert len(one) == 3 and not torch.equal(one[0], epoch(1)[0])
    monkeypatch.setattr("sweep.data.image_files._PROCESSES", 1)
    assert all(map(torch.equal, one, epoch(0)))
    assert all(map(torch.equal, one[1:2], epoch(0, start=1, stop=2)))
    assert len(list(islice(train.batches(3, generator(0, "order"), augmentation.find("flip-crop")), 1))) == 1


@pytest.mark.slow
def test_no_global_random_state_is_touched(imagenet):
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    train = data.load("imagenet", imagenet, 0.25, 0).train
    list(train.batches(3, generator(0, "order"), augmentation.find("flip-crop")))
    train.pixels[0, 5]  # in this process, as with no other
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == states[1:]

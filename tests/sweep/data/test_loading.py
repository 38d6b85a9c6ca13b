import pytest
import torch
from PIL import Image

from sweep import data
from sweep.data import augmentation, reading
from sweep.errors import BadInput
from sweep.seeds import generator


@pytest.fixture
def images(tmp_path):
    """An image folder of 2 classes, 10 train and 2 test images each, 6 × 5 pixels."""
    for part, count in (("train", 10), ("test", 2)):
        for label, name in enumerate(("cat", "dog")):
            folder = tmp_path / "pets" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (6, 5), (label * 100, i, 7)).save(folder / f"{i}.png")
    return tmp_path


def rows(split):
    return {
        (*image.flatten().tolist(), int(label))
        for image, label in zip(split.images, split.labels, strict=True)
    }


def test_digits_are_split_into_three_that_share_no_image(tmp_path):
    whole = data.load("digits", tmp_path, 0.1, 0)
    sizes = [len(split.labels) for split in (whole.train, whole.validation, whole.test)]
    assert sizes == [1293, 144, 360] and whole.shape == (1, 8, 8) and whole.classes == 10
    splits = [rows(split) for split in (whole.train, whole.validation, whole.test)]
    # Every image of digits is different, so that shared rows would be shared images.
    assert sum(map(len, splits)) == len(set.union(*splits)) == 1797


def test_validation_follows_its_seed_and_test_never_changes(tmp_path):
    one, same, other = (data.load("digits", tmp_path, 0.1, seed) for seed in (0, 0, 1))
    assert torch.equal(one.validation.images, same.validation.images)
    assert not torch.equal(one.validation.images, other.validation.images)
    assert torch.equal(one.test.images, other.test.images)


@pytest.mark.parametrize("fraction", [0.1, 0.237, 0.9])
def test_a_stratified_split_has_each_class_in_proportion(tmp_path, fraction):
    plain = data.load("digits", tmp_path, fraction, 0)
    whole = data.load("digits", tmp_path, fraction, 0, stratified=True)
    assert len(whole.validation) == len(plain.validation)
    splits = [rows(split) for split in (whole.train, whole.validation)]
    assert set.union(*splits) == rows(plain.train) | rows(plain.validation) and not set.intersection(*splits)
    counts = whole.validation.labels.bincount(minlength=10)
    of_all = counts + whole.train.labels.bincount(minlength=10)
    exact = of_all.double() * len(whole.validation) / of_all.sum()
    # Largest remainders: whoever was rounded up had no smaller a remainder than whoever was not.
    up = counts > exact.floor()
    assert torch.all((counts - exact).abs() < 1)
    assert (exact % 1)[up].min() >= (exact % 1)[~up].max()
    assert not torch.equal(counts, plain.validation.labels.bincount(minlength=10))


def test_a_stratified_split_follows_its_seed_and_true_labels(tmp_path):
    one, other, shuffled = (
        data.load("digits", tmp_path, 0.1, seed, stratified=True, random_labels=labels)
        for seed, labels in ((0, False), (1, False), (0, True))
    )
    assert torch.equal(one.validation.labels.bincount(), other.validation.labels.bincount())
    assert not torch.equal(one.validation.images, other.validation.images)
    assert torch.equal(one.validation.images, shuffled.validation.images)
    assert torch.equal(one.train.images, shuffled.train.images)


def test_inputs_are_normalized_by_the_training_images(tmp_path):
    whole = data.load("digits", tmp_path, 0.1, 0)
    inputs = whole.inputs(whole.train.images)
    assert abs(inputs.mean()) < 1e-4 and inputs.std().item() == pytest.approx(1, abs=1e-3)
    assert inputs.dtype == torch.float32


def test_an_image_folder_is_read_whole(images):
    whole = data.load("image-folder:pets", images, 0.2, 0)
    assert whole.shape == (3, 5, 6) and whole.classes == 2
    assert [len(s.labels) for s in (whole.train, whole.validation, whole.test)] == [16, 4, 4]
    for split in (whole.train, whole.validation, whole.test):
        assert torch.equal(split.images[:, 0, 0, 0], (split.labels * 100).to(torch.uint8))


def test_images_of_different_sizes_are_refused_with_the_file_and_both_sizes(images):
    Image.new("RGB", (9, 9)).save(images / "pets" / "train" / "dog" / "z.png")
    with pytest.raises(BadInput, match=r"z\.png has 9×9 pixels and the images before it 6×5"):
        data.load("image-folder:pets", images, 0.21, 0)


@pytest.mark.parametrize(
    ("name", "message"),
    [("mnist", "get it with: python -c"), ("image-folder:x", "expected are train/CLASS/IMAGE")],
)
def test_a_missing_set_is_one_line_that_says_how_to_get_it(name, message, tmp_path):
    with pytest.raises(BadInput, match=message) as error:
        data.load(name, tmp_path, 0.1, 0)
    assert "\n" not in str(error.value)


def test_a_validation_split_without_images_is_refused(images):
    with pytest.raises(BadInput, match="leaves nothing"):
        data.load("image-folder:pets", images, 0.001, 0)


def test_images_that_do_not_fit_on_a_device_are_brought_there_by_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "room", lambda device: 100 if device.type == "meta" else 1 << 40)
    data.to.cache_clear()
    there = data.to(data.load("digits", tmp_path, 0.1, 0), torch.device("meta"))
    assert there.train.pixels.device.type == "cpu"
    for split in (there.train, there.validation, there.test):
        for images, labels in split.batches(100, generator(0), augmentation.find("crop")):
            assert images.device == labels.device == torch.device("meta")
        assert split.take(torch.arange(3)).images.device.type == split.images.device.type == "meta"
    data.to.cache_clear()


def test_random_labels_are_the_true_ones_of_other_images(tmp_path):
    true, one, same, other = (
        data.load("digits", tmp_path, 0.2, seed, random_labels=random_labels)
        for seed, random_labels in ((0, False), (0, True), (0, True), (1, True))
    )
    assert torch.equal(one.train.labels, same.train.labels)
    assert not torch.equal(one.train.labels, other.train.labels)
    for part in ("train", "validation"):
        shuffled, labels = getattr(one, part), getattr(true, part)
        assert torch.equal(shuffled.images, labels.images)
        agree = (shuffled.labels == labels.labels).float().mean().item()
        assert agree == pytest.approx(0.1, abs=0.06)
        assert not torch.equal(shuffled.labels.bincount(), labels.labels.bincount())
    counts = [torch.cat([d.train.labels, d.validation.labels]).bincount() for d in (true, one)]
    assert torch.equal(*counts)
    assert torch.equal(one.test.labels, true.test.labels)
    # Scores are of the true labels all the same.
    assert torch.equal(one.scoring.labels, true.train.labels)
    assert torch.equal(one.scoring.images, one.train.images) and true.scoring is true.train


def test_mean_and_deviation_are_those_of_all_training_pixels(images):
    whole = data.load("image-folder:pets", images, 0.2, 0)
    pixels = whole.train.images.double().transpose(0, 1).flatten(1)
    assert torch.allclose(whole.mean.flatten().double(), pixels.mean(1))
    expected = pixels.std(1, correction=0).clamp_min(1e-6)
    assert torch.allclose(whole.deviation.flatten().double(), expected)

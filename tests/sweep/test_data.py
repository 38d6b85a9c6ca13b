import pytest
import torch
from PIL import Image

from sweep import data
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


def test_an_epoch_has_full_batches_of_different_rows_unless_there_are_too_few():
    found = list(data.batches(10, 4, generator(0, "order", 0)))
    assert [len(batch) for batch in found] == [4, 4]
    assert len(set(torch.cat(found).tolist())) == 8
    assert [len(batch) for batch in data.batches(3, 4, generator(0, "order", 0))] == [3]

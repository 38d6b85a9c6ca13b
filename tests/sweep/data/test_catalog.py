import pytest

from sweep import data
from sweep.data import catalog

OF_PICTURES = {"cifar10", "cifar100", "tiny-imagenet", "imagenet"}


@pytest.mark.parametrize("name", [*data.DATASETS, "image-folder:pets"])
def test_images_are_flipped_where_a_mirror_image_shows_the_same_thing(name):
    assert catalog.mirrored(name) == (name in OF_PICTURES or name == "image-folder:pets")


def test_class_folders_lie_under_the_data_root_by_the_names_of_their_publisher(tmp_path):
    for name, parts in (
        ("cifar10", ("cifar10/train", "cifar10/test")),
        ("imagenet", ("imagenet/train", "imagenet/val")),
        ("image-folder:my/pets", ("my/pets/train", "my/pets/test")),
        ("mnist", ()),
    ):
        assert catalog.folders(name, tmp_path) == tuple(tmp_path / part for part in parts)


def test_the_accuracy_of_guessing_is_known_of_a_data_set_with_a_name():
    assert catalog.chance("cifar100") == 0.01 and catalog.chance("image-folder:pets") == 0

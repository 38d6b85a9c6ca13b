"""Data sets: found under the data root, read, decoded once, split, and served in batches on a device."""

from sweep.data.augmentation import AUGMENTATIONS
from sweep.data.catalog import DATASETS, FOLDER
from sweep.data.images import Shape
from sweep.data.splits import SHAPES, Data, Sizes, Split, batches, check, load, sizes, to

__all__ = [
    "AUGMENTATIONS",
    "DATASETS",
    "FOLDER",
    "SHAPES",
    "Data",
    "Shape",
    "Sizes",
    "Split",
    "batches",
    "check",
    "load",
    "sizes",
    "to",
]

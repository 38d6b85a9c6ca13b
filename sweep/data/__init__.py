"""Data sets: found under the data root, decoded once, split, and read in batches on a device."""

from sweep.data.augmentation import AUGMENTATIONS
from sweep.data.catalog import DATASETS, FOLDER
from sweep.data.images import Shape
from sweep.data.loading import SHAPES, Sizes, check, load, sizes, to
from sweep.data.splits import Data, Split
from sweep.data.tasks import CLASSIFICATION, TASKS, Form

__all__ = [
    "AUGMENTATIONS",
    "CLASSIFICATION",
    "DATASETS",
    "FOLDER",
    "SHAPES",
    "TASKS",
    "Data",
    "Form",
    "Shape",
    "Sizes",
    "Split",
    "check",
    "load",
    "sizes",
    "to",
]

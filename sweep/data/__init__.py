"""Data sets: found under the data root, decoded once, split, and read in batches on a device."""

from sweep.data.augmentation import AUGMENTATIONS
from sweep.data.catalog import DATASETS, FOLDER
from sweep.data.images import Shape
from sweep.data.loading import SHAPES, Sizes, check, load, sizes, to
from sweep.data.splits import Data, Split
from sweep.data.tasks import CLASSIFICATION, LANGUAGE, TASKS, Form
from sweep.data.texts import FOLDER as TEXT

__all__ = [
    "AUGMENTATIONS",
    "CLASSIFICATION",
    "DATASETS",
    "FOLDER",
    "LANGUAGE",
    "SHAPES",
    "TASKS",
    "TEXT",
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

"""Networks by name, initializations of their weights, and optimizers that train them."""

from sweep.models.catalog import MODELS, TORCHVISION, build, check, find, has_norms_alone
from sweep.models.initialization import INITIALIZATIONS
from sweep.models.pretrained import TRANSFORMERS

__all__ = [
    "INITIALIZATIONS",
    "MODELS",
    "TORCHVISION",
    "TRANSFORMERS",
    "build",
    "check",
    "find",
    "has_norms_alone",
]

"""Networks by name, how their weights are drawn, and what trains them."""

from sweep.models.catalog import MODELS, TORCHVISION, build, check, find
from sweep.models.initialization import INITIALIZATIONS

__all__ = ["INITIALIZATIONS", "MODELS", "TORCHVISION", "build", "check", "find"]

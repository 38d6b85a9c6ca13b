"""`edge-popup`: a subnetwork of frozen weights, found by training scores. Ramanujan et al. 2020."""

import torch
from torch import Tensor, nn

from sweep.config import Config
from sweep.rules.trained import Trained


class EdgePopup(Trained):
    """Keeps the weights of the largest |score| at each step; scores begin Kaiming-uniform with a = √5."""

    name = "edge-popup"

    def reads(self, config: Config) -> frozenset[str]:
        """The seed of the scores too."""
        return super().reads(config) | {"mask_seed"}

    def first_scores(self, weight: Tensor, draws: torch.Generator) -> Tensor:
        """Uniform in ±1/√n, n the fan-in."""
        return nn.init.kaiming_uniform_(torch.empty_like(weight), a=5**0.5, generator=draws)


EDGE_POPUP = EdgePopup()

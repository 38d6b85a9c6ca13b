"""`obs`: SparseGPT's own mask, layer by layer on weights as updated so far. Frantar & Alistarh 2023."""

from collections.abc import Iterator

from torch import nn

import pruners
from sweep.config import Config, with_role
from sweep.errors import BadInput
from sweep.roles import Role
from sweep.rules import spread
from sweep.rules.at_once import AtOnce
from sweep.rules.rule import removes_units
from sweep.rules.run import Run


class Obs(AtOnce):
    """The mask of SparseGPT; with `compensate: obs` its weights too."""

    name = "obs"
    waits = False

    def reads(self, config: Config) -> frozenset[str]:
        """The scope, the layers, the scoring batches, and what comes after the pruning."""
        batches = {"score_batches", "score_batch_size", "balanced", "mask_seed"}
        fields = {"scope", "densities", "layers", "prune_epoch", *batches}
        return frozenset({*fields, *with_role(Role.RETRAINING)})

    def inconsistencies(self, config: Config) -> Iterator[tuple[str, str]]:
        """Units, a least number of weights, scores of one moment."""
        yield from super().inconsistencies(config)
        if removes_units(config):
            yield "structure", "obs prunes single weights: leave out structure"
        if config.min_per_layer:
            yield "min_per_layer", "min_per_layer does not apply to obs: its scope says what each layer keeps"

    def scored_images(self, config: Config) -> int:
        """The scoring batches, once more with a compensation."""
        return super().scored_images(config) + config.score_batches * config.score_batch_size

    def check(self, config: Config, model: nn.Module, exclude: list[str], units: pruners.Units) -> None:
        """See that the scope says how many weights each layer keeps."""
        try:
            pruners.obs_groups(model, config.sparsity, spread.scope(config, model, exclude), exclude)
        except ValueError as error:
            raise BadInput(f"{config.model}: {error}") from None

    def choose(self, run: Run) -> pruners.Step:
        """The masks, and the scores of their layers."""
        step = pruners.obs_step(
            run.model, run.batches(), sparsity=run.config.sparsity, scope=run.scope, exclude=run.exclude
        )
        return step._replace(weights={})


OBS = Obs()

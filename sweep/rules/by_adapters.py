"""Rules along training that train low-rank adapters in place of weights, as LoRAPrune does."""

from collections.abc import Iterator

from sweep.config import Config
from sweep.rules.choices import Choices
from sweep.rules.rule import retrains_otherwise

FIELDS = frozenset({"retrain", "lora_rank", "lora_alpha"})


def adapts(config: Config, choices: Choices) -> bool:
    """Whether adapters train from the prune epoch on: nothing may grow, as a pruned weight has no base."""
    plain = config.retrain_epochs is None and config.retrain_loss == "plain"
    falls = choices.thins and not choices.alternates and choices.grow == "none"
    return config.retrain == "lora" and plain and falls


def inconsistencies(config: Config, choices: Choices) -> Iterator[tuple[str, str]]:
    """Another retraining, and a drop that needs adapters without them."""
    if adapts(config, choices):
        return
    if retrains_otherwise(config):
        others = "retrain_epochs and retrain_loss"
        instead = f"leave out retrain, {others}, or take retrain: lora alone where nothing grows"
        if config.retrain == "lora":
            falls = choices.thins and choices.grow == "none"
            instead = f"leave out {others if falls else 'retrain: lora goes where nothing grows, as in gmp'}"
        yield "criterion", f"{config.criterion} prunes along a training of its own: {instead}"
    elif choices.estimates_drop:
        yield (
            "criterion",
            f"{config.criterion}: criterion.drop {choices.drop}: adapters estimate its gradients: take "
            "retrain: lora, and grow none",
        )

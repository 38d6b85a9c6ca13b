"""Services that each finished trial can also be logged to, through Tune's own callbacks."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray import tune


class Logger(StrEnum):
    """Services that Tune can log to."""

    TENSORBOARD = "tensorboard"
    WANDB = "wandb"
    MLFLOW = "mlflow"

    @property
    def package(self) -> str:
        """The Python package that the service needs."""
        return "tensorboardX" if self is Logger.TENSORBOARD else self.value

    def callbacks(self, study: str) -> "Sequence[tune.Callback]":
        """Tune's callbacks that log trials to the service, under the study's name."""
        if self is Logger.TENSORBOARD:
            from ray.tune.logger import TBXLoggerCallback

            return [TBXLoggerCallback()]
        if self is Logger.MLFLOW:
            from ray.air.integrations.mlflow import MLflowLoggerCallback

            return [MLflowLoggerCallback(experiment_name=study)]
        from ray.air.integrations.wandb import WandbLoggerCallback

        return [WandbLoggerCallback(project=study)]

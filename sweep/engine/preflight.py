"""What is seen to before a launch begins, so that no trial fails by it."""

from collections.abc import Sequence
from functools import partial

import torch

from sweep import data, models, rules
from sweep.config import Config
from sweep.data import catalog
from sweep.engine.driver import AUTO, Gpus
from sweep.errors import BadInput
from sweep.plan.cost import Costs
from sweep.study.identity import Trial
from sweep.trial import masking


def check_here(trials: Sequence[Trial], data_root: str, gpus_per_trial: Gpus, download: bool) -> None:
    """Raise `BadInput` for what this machine lacks; on a cluster its nodes find out."""
    here = torch.cuda.device_count()
    if (1 if gpus_per_trial == AUTO else gpus_per_trial) > here:
        share = gpus_per_trial if gpus_per_trial == AUTO else f"{gpus_per_trial:g}"
        raise BadInput(f"--gpus-per-trial {share}: this machine has {here} GPUs; leave it out to use CPUs")
    for dataset in {trial.config.dataset for trial in trials}:
        if download:
            catalog.download(dataset, catalog.local(dataset, data_root))
        shape = data.check(dataset, data_root)
        for model in {trial.config.model for trial in trials if trial.config.dataset == dataset}:
            models.check(model, shape)
        checked = set()
        configs = [trial.config for trial in trials if trial.config.dataset == dataset]
        _check_steps(configs, data_root)
        for config in sorted(configs, key=lambda config: -config.combination):
            said = (config.layers, config.structure, config.retrain, config.min_per_layer)
            several = (config.model, rules.find(config.criterion), config.sparsity, config.scope, *said)
            plain = said == ("*", "weight", "all", 0) and config.scope != "uniform-plus"
            if not plain and several not in checked:
                checked.add(several)
                masking.check(config, models.build(config.model, shape, classes=10, seed=0))


def _check_steps(configs: Sequence[Config], data_root: str) -> None:
    """See that what happens at an epoch comes within the steps of training: the size of the data says."""
    costs = Costs(data_root, torch.device("cpu"))
    for config in configs:
        when = max(config.prune_epoch, config.rewind_epoch or 0)
        if config.steps and when and round(when * costs.epoch(config)) > config.steps:
            steps = f"{config.steps} steps of training, {costs.epoch(config)} an epoch"
            raise BadInput(f"epoch {when:g} is beyond the {steps}: prune and rewind earlier, or train longer")
        rules.find(config.criterion).check_steps(config, partial(costs.epoch, config))

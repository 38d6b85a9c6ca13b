"""Checks before a launch begins: they find what would make its trials fail."""

from collections.abc import Sequence
from functools import partial

import torch

from sweep import data, models, rules
from sweep.config import FIELDS, Config
from sweep.data import catalog
from sweep.engine.options import AUTO, Gpus, Options
from sweep.engine.rehearsal import rehearse
from sweep.errors import BadInput
from sweep.models import metrics as known_metrics
from sweep.parts import Arguments, is_name
from sweep.plan.cost import Costs
from sweep.study import Study, consistency
from sweep.study.identity import Trial
from sweep.trial import masking

# Fields that name what a network may lack; at their defaults there is nothing to look for.
_OF_LAYERS = ("layers", "structure", "retrain", "min_per_layer", "densities", "target")


def check_launch(
    study: Study, trials: Sequence[Trial], options: Options, *, download: bool, run_code: bool
) -> None:
    """Check that the trials of a launch can run, and try the parts of one's own that they name.

    Args:
        download: whether missing data sets are downloaded.
        run_code: whether parts may run.

    Raises:
        BadInput: as `check_here` and `rehearse`.
    """
    here = partial(check_here, trials, options.data_root, options.gpus, metrics=study.metrics)
    if not options.address:
        here(download, run_code=not study.parts)
    if study.parts and run_code:
        if not options.in_process:
            # The code runs in a process of its own before it runs in this one, which it might end.
            rehearse(study, trials, options.data_root, options.trial_seconds)
        if not options.address:
            here(download, run_code=True)


def check_here(
    trials: Sequence[Trial],
    data_root: str,
    gpus_per_trial: Gpus,
    download: bool,
    *,
    run_code: bool = True,
    metrics: Sequence[str] = (),
) -> None:
    """Check that this machine has what the trials need. On a cluster its nodes check that.

    Args:
        download: whether missing data sets are downloaded.
        run_code: whether parts of one's own may run; if not, trials of such data or networks are left out.
        metrics: names of the metrics that the final networks are measured by.

    Raises:
        BadInput: a GPU or a data set is missing, a model does not take the inputs, a metric is not for the
            task, or the masks or the steps of a trial are impossible.
    """
    gpus = torch.cuda.device_count()
    if (1 if gpus_per_trial == AUTO else gpus_per_trial) > gpus:
        share = gpus_per_trial if gpus_per_trial == AUTO else f"{gpus_per_trial:g}"
        raise BadInput(f"--gpus-per-trial {share}: this machine has {gpus} GPUs; leave it out to use CPUs")
    if not run_code:
        trials = [trial for trial in trials if not _runs_code(trial.config)]
    for dataset, arguments in {_data(trial.config) for trial in trials}:
        if download:
            catalog.download(dataset, catalog.local(dataset, data_root))
        form = data.check(dataset, data_root, arguments)
        known_metrics.check(metrics, form.task)
        configs = [trial.config for trial in trials if _data(trial.config) == (dataset, arguments)]
        for model in {config.model for config in configs}:
            models.check(model, form.shape, form.dtype)
        for config in configs:
            consistency.check_form(config, form)
        _check_steps(configs, data_root)
        _check_masks(configs, form)


def _data(config: Config) -> tuple[str, Arguments]:
    return config.dataset, config.arguments("dataset")


def _runs_code(config: Config) -> bool:
    return any(map(is_name, (config.dataset, config.model, config.init)))


def _check_steps(configs: Sequence[Config], data_root: str) -> None:
    """Check that prunes, rewinds and mask updates come within the steps of training.

    The steps of an epoch follow from the size of the data.

    Raises:
        BadInput: one of them comes after the last step.
    """
    costs = Costs(data_root, torch.device("cpu"))
    for config in configs:
        epoch = partial(costs.epoch, config)
        consistency.check_steps(config, epoch)
        rules.find(config.criterion).check_steps(config, epoch)


def _check_masks(configs: Sequence[Config], form: data.Form) -> None:
    """Check that the masks of each config exist, once for all configs for which the answer is the same.

    Raises:
        BadInput: they do not.
    """
    checked = set()
    # Where the largest combination exists, all smaller ones do.
    for config in sorted(configs, key=lambda config: -config.combination):
        layers = tuple(getattr(config, name) for name in _OF_LAYERS)
        plain = tuple(FIELDS[name].default for name in _OF_LAYERS)
        if layers == plain and config.scope != "uniform-plus":
            continue
        arguments = config.arguments("model")
        kind = (
            config.model,
            arguments,
            rules.find(config.criterion),
            config.sparsity,
            config.scope,
            *layers,
        )
        if kind not in checked:
            checked.add(kind)
            form_of_model = (form.shape, 10, 0)
            model = models.build(config.model, *form_of_model, dtype=form.dtype, arguments=arguments)
            masking.check(config, model, torch.zeros(1, *form.shape, dtype=form.dtype))

"""The fields of a trial's config that say what is pruned and how; `sweep.config.Config` adds the rest.

This module imports no torch: the names of data sets, models and criteria are looked up when one is checked.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass as validated

from sweep.names import layer_densities, one_of, trained_weights
from sweep.roles import About, Role

Count = Annotated[int, Field(ge=1, le=10**9)]
Whole = Annotated[int, Field(ge=0, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]  # results hold it as a 64-bit integer
Epoch = Annotated[float, Field(ge=0, le=10**6, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]

# Values of fields that other fields are for.
_LORA, _DISTILL = ("retrain", "lora"), ("retrain_loss", "distill")


@validated(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Setting:
    """The data and the network of a trial."""

    dataset: Annotated[
        str,
        one_of("dataset", "sweep.data:DATASETS", prefixes=("sweep.data:FOLDER", "sweep.data:TEXT"), own=True),
        About(Role.DATA, "the data set, by name", memory=True),
    ]
    augment: Annotated[
        str,
        one_of("augmentation", "sweep.data:AUGMENTATIONS", own=True),
        About(Role.DATA, "how training images are altered, by batch, on the device", memory=True),
    ] = "none"
    random_labels: Annotated[
        bool, About(Role.DATA, "training and validation targets are shuffled; scores see the true ones")
    ] = False
    model: Annotated[
        str,
        one_of(
            "model",
            "sweep.models:MODELS",
            prefixes=("sweep.models:TORCHVISION", "sweep.models:TRANSFORMERS"),
            own=True,
        ),
        About(Role.NETWORK, "the network, by name", memory=True),
    ]
    init: Annotated[
        str,
        one_of("initialization", "sweep.models:INITIALIZATIONS", own=True),
        About(Role.NETWORK, "the distribution that the initial weights are drawn from"),
    ] = "kaiming"
    weights: Annotated[
        Annotated[str, AfterValidator(trained_weights)] | None,
        About(Role.NETWORK, "trained weights to start from: a file's, torchvision's or a trial's"),
    ] = None
    keep_mask: Annotated[
        bool, About(Role.NETWORK, "trained weights that are exactly 0 are pruned from the start")
    ] = False


@validated(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Pruning(Setting):
    """How a trial prunes, and what changes between the prune and the training after it."""

    criterion: Annotated[
        str,
        one_of("criterion", "pruners.saliency:CRITERIA", "sweep.rules:RULES", own=True),
        About(Role.SCORING, "the saliency criterion or the rule that chooses the masks", memory=True),
    ]
    sparsity: Annotated[
        float, Field(ge=0, lt=1), About(Role.MASK, "share of prunable weights removed; 0 is one dense run")
    ]
    scope: Annotated[
        str,
        one_of("scope", "pruners:SCOPES", "pruners:PATTERNS", "pruners:BUDGETS"),
        About(Role.MASK, "how the sparsity is distributed over the layers"),
    ] = "global"
    densities: Annotated[
        Annotated[str, AfterValidator(layer_densities)] | None,
        About(
            Role.MASK, "in place of a scope, densities of layers by pattern, to which theirs are proportional"
        ),
    ] = None
    target: Annotated[
        Literal["kept", "effective"],
        About(Role.MASK, "weights that the sparsity counts: those kept, or those of them that are effective"),
    ] = "kept"
    iterations: Annotated[
        Count, About(Role.MASK, "pruning iterations; by default as many as the criterion's paper takes")
    ] = 1
    schedule: Annotated[
        str,
        one_of("schedule", "pruners:SCHEDULES"),
        About(Role.MASK, "how the density falls over the iterations"),
    ] = "exponential"
    structure: Annotated[
        str,
        one_of("structure", "pruners:STRUCTURES"),
        About(
            Role.UNITS,
            "what is removed as a whole: single weights, filters, channels, heads, neurons or blocks",
            memory=True,
        ),
    ] = "weight"
    unit_score: Annotated[
        Literal["sum", "mean", "group-mean"],
        About(Role.MASK, "what units are ranked by: sum or mean of their weights' scores, or group-mean"),
    ] = "sum"
    layers: Annotated[
        str, About(Role.TARGET, "patterns of the weights that may be pruned; !pattern excludes some")
    ] = "*"
    min_per_layer: Annotated[
        Whole, About(Role.MASK, "weights of each layer, or units of each group, that are kept at least")
    ] = 0
    prune_epoch: Annotated[
        Epoch, About(Role.TARGET, "dense epochs before the prune; with prune_when the most of them")
    ] = 0
    prune_when: Annotated[
        Annotated[str, one_of("moment", "sweep.rules.moments:MOMENTS")] | None,
        About(Role.TARGET, "indicator that says after which dense epoch to prune; by default prune_epoch"),
    ] = None
    prune_threshold: Annotated[
        Annotated[float, Field(gt=0, le=1)] | None,
        About(Role.TARGET, "threshold of that indicator; by default its paper's"),
    ] = None
    balanced: Annotated[
        bool, About(Role.SCORING, "scoring batches have equally many images of each class")
    ] = False
    combination: Annotated[Whole, About(Role.MASK, "which of all combinations of filters is removed")] = 0
    score_domain: Annotated[
        str,
        About(Role.SCORING, "domain of the training inputs that score, as a book; all: any input"),
    ] = "all"
    score_length: Annotated[
        Count | None, About(Role.SCORING, "tokens of a scoring window, from its first on; by default all")
    ] = None
    score_batches: Annotated[Count, About(Role.SCORING, "training batches that score, in each iteration")] = 1
    score_batch_size: Annotated[Count, About(Role.SCORING, "images of a scoring batch", memory=True)] = 128
    score_mode: Annotated[
        Literal["own", "train", "eval"],
        About(Role.SCORING, "mode of BatchNorm and dropout while scoring; own: the criterion's", memory=True),
    ] = "own"
    score_loss: Annotated[
        Literal["cross-entropy", "logit"],
        About(Role.SCORING, "loss that scores; cross-entropy: that of training; logit: FORCE's", memory=True),
    ] = "cross-entropy"
    score_init: Annotated[
        Literal["same", "fresh"],
        About(Role.SCORING, "weights that are scored: those that are trained, or another draw of them"),
    ] = "same"
    score_order: Annotated[
        str,
        one_of("order", "pruners:ORDERS"),
        About(Role.SCORING, "whole: all layers of one network; blockwise: each behind blocks pruned before"),
    ] = "whole"
    update_every: Annotated[Count, About(Role.MASK, "steps between updates of the mask")] = 100
    update_end: Annotated[
        float, Field(gt=0, le=1), About(Role.MASK, "share of the training after which no update comes")
    ] = 0.75
    drop_fraction: Annotated[
        float, Field(gt=0, le=1), About(Role.MASK, "share of each layer that the first update drops")
    ] = 0.3
    initial_sparsity: Annotated[
        float, Field(ge=0, lt=1), About(Role.MASK, "share of prunable weights pruned at random at the start")
    ] = 0
    initial_scope: Annotated[
        str,
        one_of("scope", "pruners:SCOPES"),
        About(Role.MASK, "how the initial sparsity is distributed over the layers"),
    ] = "erk"
    second: Annotated[
        Literal["ap"] | None,
        About(Role.MASK, "second ranking at each level of imp; ap: negative weights that moved least go"),
    ] = None
    second_share: Annotated[
        float, Field(gt=0, lt=1), About(Role.MASK, "share of a level's removed weights that it chooses")
    ] = 0.1
    # after pruning
    shrink: Annotated[
        bool, About(Role.RETRAINING, "after the prune the network that is left is trained, really smaller")
    ] = False
    ablation: Annotated[
        Literal["none", "shuffle", "invert", "reinit"],
        About(Role.RETRAINING, "shuffle masks in layers, invert scores, or draw new weights after the prune"),
    ] = "none"
    compensate: Annotated[
        str,
        one_of("compensation", "pruners:COMPENSATIONS"),
        About(
            Role.RETRAINING,
            "what makes up for removed weights, right after the prune: new weights, or biases",
        ),
    ] = "none"
    rewind_epoch: Annotated[
        Epoch | None, About(Role.RETRAINING, "epoch whose weights and schedule come back after the prune")
    ] = None
    retrain: Annotated[
        Literal["all", "bn", "bias", "bn+bias", "head", "lora"],
        About(Role.RETRAINING, "parameters that are trained after the prune"),
    ] = "all"
    lora_rank: Annotated[
        Count, About(Role.RETRAINING, "rank of the adapters that retrain lora trains", beside=_LORA)
    ] = 16
    lora_alpha: Annotated[
        Rate, About(Role.RETRAINING, "alpha: alpha / rank times their product is added", beside=_LORA)
    ] = 32
    retrain_loss: Annotated[
        Literal["plain", "distill"],
        About(
            Role.RETRAINING,
            "loss that trains after the prune; distill: that of the dense run's outputs, too",
            memory=True,
        ),
    ] = "plain"
    distill_weight: Annotated[
        float,
        Field(gt=0, le=1),
        About(Role.RETRAINING, "share of that loss which is of the dense run's outputs", beside=_DISTILL),
    ] = 0.9
    distill_temperature: Annotated[
        Rate, About(Role.RETRAINING, "by which both networks' outputs are divided there", beside=_DISTILL)
    ] = 4
    retrain_epochs: Annotated[
        Epoch | None, About(Role.RETRAINING, "length of a schedule of its own after the prune, in epochs")
    ] = None
    retrain_lr: Annotated[Rate | None, About(Role.RETRAINING, "learning rate of that schedule")] = None
    twin_seed: Annotated[
        Seed | None, About(Role.RETRAINING, "order of a second retraining that is compared with the first")
    ] = None

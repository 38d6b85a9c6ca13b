"""Training recipes: the settings of papers, by name. A study names one with `recipe`."""

from collections.abc import Callable
from typing import Any

from sweep.data import catalog

Fields = dict[str, Any]


def _augment(dataset: str) -> Fields:
    """Flips and crops, of images whose mirror image shows the same thing."""
    return {"augment": "flip-crop"} if catalog.mirrored(dataset) else {}


def _snip(dataset: str, model: str) -> Fields:
    """Lee et al. 2019: 250,000 steps on MNIST, else 150,000.

    The rate drops to a tenth every 25,000 steps on MNIST, else every 30,000.
    """
    shared = {
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "lr_schedule": "step",
        "lr_drop_factor": 0.1,
        "init": "lecun",  # as in the published code
    }
    if dataset == "mnist":
        tenths = " ".join(str(tenth / 10) for tenth in range(1, 10))
        return shared | {"batch_size": 100, "score_batch_size": 100, "steps": 250_000, "lr_drops": tenths}
    longer = {"batch_size": 128, "steps": 150_000, "lr_drops": "0.2 0.4 0.6 0.8"}
    return shared | longer | _augment(dataset)


def _force(dataset: str, model: str) -> Fields:
    """De Jorge et al. 2021: 350 epochs on CIFAR, where the rate drops to a tenth at epochs 150 and 250.

    The settings for other data sets are those of their code.
    """
    lengths = {  # data set -> epochs, and the two epochs at which the rate drops
        "tiny-imagenet": (300, 150, 225),
        "imagenet": (90, 30, 60),
    }
    epochs, first, second = lengths.get(dataset, (350, 150, 250))
    settings = {
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 1e-4 if dataset == "imagenet" else 5e-4,
        "batch_size": 256 if dataset == "imagenet" else 128,
        "epochs": epochs,
        "lr_schedule": "step",
        "lr_drops": f"{first / epochs} {second / epochs}",
        "score_batches": {"cifar100": 10, "tiny-imagenet": 20, "imagenet": 40}.get(dataset, 1),
    }
    return settings | _augment(dataset)


def _fts(dataset: str, model: str) -> Fields:
    """Gollini et al. 2025, CIFAR: 160 epochs of batches of 512; the rate drops to a fifth at 60 and 120.

    A fifth of each class validates. The other 40,000 images score, once, in eval mode with every criterion.
    Their code also crops and mirrors the scoring images at random; here scoring images are not augmented.
    """
    settings = {
        "lr": 0.01,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "batch_size": 512,
        "epochs": 160,
        "lr_schedule": "step",
        "lr_drops": "0.375 0.75",
        "lr_drop_factor": 0.2,
        "score_mode": "eval",
        "validation_fraction": 0.2,
        "stratified": True,
    }
    if dataset in ("cifar10", "cifar100"):
        settings |= {"score_batches": 200, "score_batch_size": 200}
    return settings | _augment(dataset)


def _lth(dataset: str, model: str) -> Fields:
    """Frankle & Carbin 2019: Adam for LeNet; for larger networks SGD with a warm-up of 20,000 steps.

    The warm-up has this length where an epoch has 351 steps: on CIFAR, when a tenth of the images validates.
    """
    if model.startswith("lenet"):
        return {
            "optimizer": "adam",
            "lr": 1.2e-3,
            "weight_decay": 0.0,
            "batch_size": 60,
            "steps": 50_000,
            "lr_schedule": "constant",
        }
    settings = {
        "lr": 0.03,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "batch_size": 128,
        "steps": 30_000,
        "lr_schedule": "step",
        "lr_drops": f"{20 / 30} {25 / 30}",
        "warmup_epochs": 20_000 / (45_000 // 128),
    }
    return settings | _augment(dataset)


def _quick(dataset: str, model: str) -> Fields:
    """Eight epochs of one cycle, for first results."""
    return {"lr": 0.2, "lr_schedule": "one-cycle", "epochs": 8}


RECIPES: dict[str, Callable[[str, str], Fields]] = {
    # name: data set, model -> fields of the config; fields that the study gives replace these
    "snip": _snip,
    "force": _force,
    "fts": _fts,
    "lth": _lth,
    "quick": _quick,
}

"""Torch-Pruning beside our coupled channels: what each can prune, and accuracy and seconds on digits.

It needs `pip install torch-pruning`, in an environment of its own, such as

    python -m venv tp && tp/bin/pip install torch-pruning
    tp/bin/python -m benchmarks.torch_pruning

with this project installed in it. `python -m benchmarks.torch_pruning networks` prints the first table alone,
`conv-5` and `resnet-20` the rows of the second.

*Networks*: half of the channels of each coupled group are removed by their magnitude, the network is run, and
its outputs are compared with those of the masked one, which Torch-Pruning does not have. Each is given its
time, that of the processor, so that other work on the machine does not count: a network that is not pruned within
a minute of it counts as one that cannot be pruned. Torch-Pruning is told
which layers are outputs and how many heads attention has, as its manual asks; ours is told what to exclude where
its error asks for it.

*Digits*: one dense training, then the same share of each group removed, then the same retraining by our loop.
"""

import importlib
import resource
import signal
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
import torchvision
from torch import nn

import pruners
from benchmarks.timing import processor_seconds
from sweep import data
from sweep.config import Config
from sweep.trial.prefixes import Shared
from sweep.trial.stages import Stages

_SECONDS = 60
_SIDE, _CLASSES = 64, 10
NETWORKS: dict[str, dict[str, object]] = {
    "alexnet": {},
    "vgg11_bn": {},
    "resnet18": {},
    "resnet50": {},
    "resnext50_32x4d": {},
    "wide_resnet50_2": {},
    "densenet121": {},
    "squeezenet1_1": {},
    "googlenet": {"aux_logits": False, "init_weights": False},
    "mobilenet_v2": {},
    "mobilenet_v3_small": {},
    "mnasnet0_5": {},
    "shufflenet_v2_x0_5": {},
    "efficientnet_b0": {},
    "regnet_y_400mf": {},
    "convnext_tiny": {},
    "vit_b_16": {"image_size": _SIDE},
    "swin_t": {},
}

# Networks of the second table.
DIGITS = ("conv-5", "resnet-20")
# What ours is told to leave out: the error says so where sizes stand in `forward`.
EXCLUDED = {"swin_t": ("*.attn.qkv.weight",)}


def _network(name: str) -> nn.Module:
    """A network with random weights, and random statistics and shifts of its BatchNorms."""
    torch.manual_seed(0)
    network: nn.Module = torchvision.models.get_model(
        name, weights=None, num_classes=_CLASSES, **NETWORKS[name]
    )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.bias, 0, 0.1)
    for parameter in network.parameters():
        if not parameter.any():  # an output layer that begins at 0 would hide all differences
            nn.init.normal_(parameter, 0, 0.1)
    return network.eval()


def _size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def ours(network: nn.Module, inputs: torch.Tensor, exclude: Sequence[str] = ()) -> nn.Module:
    groups = pruners.find_units("channel", network, inputs, exclude)
    masks = pruners.prune(
        "magnitude", network, [(inputs, torch.zeros(len(inputs), dtype=torch.long))], sparsity=0.5,
        scope="uniform", structure="channel", unit_score="group-mean", exclude=exclude,
    )  # fmt: skip
    masks = {**masks, **pruners.other_masks(network, groups, masks)}
    pruners.apply_masks(network, masks)
    cut = pruners.STRUCTURES["channel"].cut
    assert cut
    small = cut(network, groups, pruners.kept_units(groups, masks), inputs)
    with torch.no_grad():
        whole = network(inputs)
        error = float((small(inputs) - whole).abs().max() / whole.abs().max())
    assert error < 1e-4, f"outputs differ from the masked network's by {error:.1g}"
    return small


def theirs(network: nn.Module, inputs: torch.Tensor, ratio: float = 0.5) -> nn.Module:
    tp: Any = importlib.import_module("torch_pruning")
    heads = {each: each.num_heads for each in network.modules() if isinstance(each, nn.MultiheadAttention)}
    outputs = [
        each
        for each in network.modules()
        if _CLASSES in (getattr(each, "out_features", 0), getattr(each, "out_channels", 0))
    ]
    importance = tp.importance.GroupMagnitudeImportance(p=1)
    tp.pruner.BasePruner(
        network, inputs, importance, pruning_ratio=ratio, ignored_layers=outputs, num_heads=heads
    ).step()
    with torch.no_grad():
        network(inputs)
    return network


def one(name: str, who: str) -> None:
    """Print what is left of a network, and the seconds that it took."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    network, inputs, left = _network(name), torch.randn(2, 3, _SIDE, _SIDE), []
    before = _size(network)
    prune = partial(ours, exclude=EXCLUDED.get(name, ())) if who == "ours" else theirs
    try:
        took = processor_seconds(lambda: left.append(prune(network, inputs)))
    except Exception as error:  # whatever is raised is the answer
        print(f"no: {type(error).__name__}: {str(error).partition(chr(10))[0][:110]}")
    else:
        told = f", told to exclude {' '.join(EXCLUDED[name])}" if who == "ours" and name in EXCLUDED else ""
        print(f"yes, {_size(left[0]) / before:.0%} of the parameters left, {took:.1f} s{told}")


def _limited() -> None:
    """Give this process so many seconds of a processor; the system ends it after them."""
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS + 1))


def networks() -> None:
    """Print for each network what either makes of it."""
    for name in NETWORKS:
        for who in ("ours", "theirs"):
            command = [sys.executable, "-m", "benchmarks.torch_pruning", who, name]
            done = subprocess.run(command, capture_output=True, text=True, preexec_fn=_limited)
            said = done.stdout.strip() or f"no: not done after {_SECONDS} seconds"
            if done.returncode not in (0, -signal.SIGXCPU):
                said = f"no: {done.stderr.strip().splitlines()[-1][:110]}"
            print(f"{name:20} {who:7} {said}", flush=True)


def _retrained(config: Config, who: str) -> tuple[float, float]:
    """Test accuracy after the retraining, and the processor seconds of pruning and retraining."""
    whole = data.load(config.dataset, Path("data"), 0.1, 0)
    stages = Stages(config, whole, Shared())
    stages.dense(stages.steps_of(config.prune_epoch))
    if who == "dense":
        return stages.training.evaluate(whole.test)[1], 0.0

    def prune() -> None:
        if who == "ours":
            stages.prune(stages.score(), measured=False)
            stages.resume(reinit=False)
        else:
            inputs = whole.inputs(whole.train.take(torch.arange(2)).images)
            stages.training.shrink(theirs(stages.model, inputs, config.sparsity), lambda name, value: value)
            stages.resume(reinit=False)
        stages.train("retrain", stages.end)

    took = processor_seconds(prune)
    return stages.training.evaluate(whole.test)[1], took


def digits(model: str) -> None:
    """Print mean accuracies over five seeds after the same retraining."""
    for sparsity in (0.5, 0.75):
        config = Config(
            dataset="digits", model=model, criterion="magnitude", structure="channel", scope="uniform",
            unit_score="group-mean", sparsity=sparsity, epochs=10, prune_epoch=10, retrain_epochs=5,
            shrink=True,
        )  # fmt: skip
        for who in ("dense", "ours", "theirs"):
            found = [_retrained(replace(config, seed=seed), who) for seed in range(5)]
            accuracies, took = zip(*found, strict=True)
            print(
                f"{model} on digits, {sparsity:.0%} of the channels removed, {who:6}: test accuracy "
                f"{mean(accuracies):.4f} ± {stdev(accuracies):.4f} (standard deviation of 5 seeds), "
                f"{mean(took):.1f} s to prune and retrain",
                flush=True,
            )


def main(*what: str) -> None:
    torch.set_num_threads(1)
    if "networks" in what:
        networks()
    for model in DIGITS:
        if model in what:
            digits(model)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["ours" | "theirs" as who, name]:
            one(name, who)
        case given:
            main(*(given or ("networks", *DIGITS)))

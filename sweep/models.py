"""The networks of the studies, built for an image shape and initialized from a seed."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from sweep.data import Shape
from sweep.errors import BadInput


@dataclass(frozen=True)
class Model:
    """How to build a network, and the smallest image side that survives its pooling."""

    build: Callable[[Shape, int], nn.Module]
    smallest: int


def lenet_300_100(shape: Shape, classes: int) -> nn.Module:
    """Two hidden layers of 300 and 100 units (LeCun et al. 1998); 266,200 weights on 28×28 images."""
    channels, height, width = shape
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * height * width, 300),
        nn.ReLU(),
        nn.Linear(300, 100),
        nn.ReLU(),
        nn.Linear(100, classes),
    )


def lenet_5_caffe(shape: Shape, classes: int) -> nn.Module:
    """Caffe's LeNet: two 5×5 convolutions without activation, two linear layers; 430,500 weights on 28×28."""
    channels, height, width = shape
    side = 50 * (((height - 4) // 2 - 4) // 2) * (((width - 4) // 2 - 4) // 2)
    return nn.Sequential(
        nn.Conv2d(channels, 20, 5),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(side, 500),
        nn.ReLU(),
        nn.Linear(500, classes),
    )


def conv_5(shape: Shape, classes: int) -> nn.Module:
    """Five 3×3 convolutions with BatchNorm, average pool, linear; 97,552 weights on one channel."""
    layers: list[nn.Module] = []
    channels = shape[0]
    for width, stride in zip((16, 32, 64, 64, 64), (1, 2, 1, 2, 1), strict=True):
        layers += [
            nn.Conv2d(channels, width, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


MODELS = {
    "lenet-300-100": Model(lenet_300_100, 1),
    "lenet-5-caffe": Model(lenet_5_caffe, 16),
    "conv-5": Model(conv_5, 4),
}


def check(name: str, shape: Shape) -> None:
    """Raise `BadInput` if images of this shape are too small for the network."""
    smallest = MODELS[name].smallest
    if min(shape[1:]) < smallest:
        raise BadInput(
            f"{name} needs images of at least {smallest}×{smallest} pixels and these are "
            f"{shape[1]}×{shape[2]}: choose another model or dataset"
        )


def build(name: str, shape: Shape, classes: int, seed: int) -> nn.Module:
    """A fresh network, in channels-last layout: Kaiming-normal weights (fan-in, ReLU), biases 0.

    The global random state is left alone.
    """
    check(name, shape)
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)  # not torch.manual_seed, which reaches every GPU
        model = MODELS[name].build(shape, classes)
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
    # Convolutions of small images run a third faster so on a CPU, and use tensor cores on a GPU.
    return model.to(memory_format=torch.channels_last)

"""Networks for images of digits: LeNets, and a small convolutional network with BatchNorm."""

import math

from torch import nn

from sweep.data import Shape


def lenet_300_100(shape: Shape, classes: int) -> nn.Module:
    """Two hidden layers of 300 and 100 units (LeCun et al. 1998); 266,200 weights on 28×28 images.

    Inputs have any shape.
    """
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(shape), 300),
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


def lenet_5_mini(shape: Shape, classes: int) -> nn.Module:
    """LeNet-5 with ten filters or units in every layer (Feng et al. 2024, arXiv 2412.00143); 5,450 weights.

    The paper enlarges MNIST to 32×32. Smaller images get two pixels of padding, as in LeCun et al. (1998), so
    that the layers have the same shapes.
    """
    channels, height, width = shape
    padding = 2 if min(height, width) < 32 else 0
    rows, columns = (((side + 2 * padding - 4) // 2 - 4) // 2 - 4 for side in (height, width))
    return nn.Sequential(
        nn.Conv2d(channels, 10, 5, padding=padding),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(10, 10, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(10, 10, 5),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(10 * rows * columns, 10),
        nn.ReLU(),
        nn.Linear(10, classes),
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

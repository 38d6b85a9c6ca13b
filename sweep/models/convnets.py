"""Convolutional networks without shortcuts: AlexNet and VGG, reduced for CIFAR as in pruning studies.

The average pool before the linear layers has a 1×1 map as input for the image sides of the papers, and then
changes nothing. It makes the networks accept other sides too.
"""

from torch import nn

from sweep.data import Shape


def alexnet_s(shape: Shape, classes: int) -> nn.Module:
    """AlexNet with strides in place of pools (Lee et al. 2019); 5,066,784 weights on CIFAR-10.

    Its linear layers have 1024 units. On 32×32 images the inputs of 491,520 weights of the last convolution
    are always padding, in the paper's code too.
    """
    return _alexnet(shape, classes, 1024)


def alexnet_b(shape: Shape, classes: int) -> nn.Module:
    """AlexNet-s with linear layers of 2048 units (Lee et al. 2019); 8,484,896 weights on CIFAR-10."""
    return _alexnet(shape, classes, 2048)


def vgg_c(shape: Shape, classes: int) -> nn.Module:
    """VGG-D whose third convolution of a stage is 1×1 (Lee et al. 2019); 10,521,280 weights on CIFAR-10."""
    return _vgg(shape, classes, third=1, hidden=2)


def vgg_d(shape: Shape, classes: int) -> nn.Module:
    """VGG-16 with BatchNorm, linear layers of 512 units (Lee et al. 2019); 15,239,872 weights on CIFAR-10."""
    return _vgg(shape, classes, third=3, hidden=2)


def vgg_like(shape: Shape, classes: int) -> nn.Module:
    """VGG-D, one hidden linear layer (Zagoruyko 2015; Lee et al. 2019); 14,977,728 weights on CIFAR-10."""
    return _vgg(shape, classes, third=3, hidden=1)


def vgg_16(shape: Shape, classes: int) -> nn.Module:
    """VGG-16 with BatchNorm (Simonyan & Zisserman 2015), one linear layer; 14,715,584 weights on CIFAR-10."""
    return _torchvision_vgg("D", shape, classes)


def vgg_19(shape: Shape, classes: int) -> nn.Module:
    """VGG-19 with BatchNorm (Simonyan & Zisserman 2015), one linear layer; 20,024,000 weights on CIFAR-10."""
    return _torchvision_vgg("E", shape, classes)


def _alexnet(shape: Shape, classes: int, hidden: int) -> nn.Module:
    layers: list[nn.Module] = []
    channels = shape[0]
    for width, kernel in zip((96, 256, 384, 384, 256), (11, 5, 3, 3, 3), strict=True):
        # The paper's code starts with a stride of 4 on 64×64 images.
        stride = 4 if not layers and min(shape[1:]) >= 64 else 2
        layers += _convolution(channels, width, kernel, stride)
        channels = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    layers += [*_hidden(channels, hidden), *_hidden(hidden, hidden), nn.Linear(hidden, classes)]
    return nn.Sequential(*layers)


def _vgg(shape: Shape, classes: int, third: int, hidden: int) -> nn.Module:
    """Stages of 2, 2, 3, 3, 3 convolutions, and a classifier.

    Args:
        third: kernel side of the third convolution of a stage.
        hidden: number of hidden linear layers.
    """
    layers: list[nn.Module] = []
    channels = shape[0]
    for width, kernels in zip((64, 128, 256, 512, 512), [(3, 3)] * 2 + [(3, 3, third)] * 3, strict=True):
        for kernel in kernels:
            # The paper's code starts with a stride of 2 on 64×64 images.
            stride = 2 if not layers and min(shape[1:]) >= 64 else 1
            layers += _convolution(channels, width, kernel, stride)
            channels = width
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    for _ in range(hidden):
        layers += _hidden(channels, 512)
    return nn.Sequential(*layers, nn.Linear(512, classes))


def _convolution(channels: int, width: int, kernel: int, stride: int) -> list[nn.Module]:
    return [
        # A bias before BatchNorm has no effect, but the paper's code has it and the paper's sizes count it.
        nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]


def _hidden(features: int, width: int) -> list[nn.Module]:
    return [nn.Linear(features, width), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]


def _torchvision_vgg(letter: str, shape: Shape, classes: int) -> nn.Module:
    from torchvision.models.vgg import cfgs, make_layers

    features = make_layers(cfgs[letter], batch_norm=True)
    if shape[0] != 3:
        features[0] = nn.Conv2d(shape[0], 64, 3, padding=1)
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))

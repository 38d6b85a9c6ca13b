"""Convolutional networks without shortcuts: AlexNet and VGG as CIFAR studies cut them down.

In all of them the average pool before the linear layers changes nothing for the image sides of the papers, of
which it finds a map of 1×1; it lets other sides in.
"""

from torch import nn

from sweep.data import Shape


def alexnet_s(shape: Shape, classes: int) -> nn.Module:
    """AlexNet with strides for pools, linear layers of 1024 (Lee et al. 2019); 5,066,784 weights on CIFAR-10.

    On 32×32 images 491,520 weights of the last convolution only meet the padding, in the paper's code too.
    """
    return _alexnet(shape, classes, 1024)


def alexnet_b(shape: Shape, classes: int) -> nn.Module:
    """AlexNet-s with linear layers of 2048 units (Lee et al. 2019); 8,484,896 weights on CIFAR-10."""
    return _alexnet(shape, classes, 2048)


def vgg_c(shape: Shape, classes: int) -> nn.Module:
    """VGG-D with 1×1 for third convolutions of a stage (Lee et al. 2019); 10,521,280 weights on CIFAR-10."""
    return _vgg(shape, classes, third=1, hidden=2)


def vgg_d(shape: Shape, classes: int) -> nn.Module:
    """VGG-16 with BatchNorm, linear layers of 512 units (Lee et al. 2019); 15,239,872 weights on CIFAR-10."""
    return _vgg(shape, classes, third=3, hidden=2)


def vgg_like(shape: Shape, classes: int) -> nn.Module:
    """VGG-D, one hidden linear layer (Zagoruyko 2015; Lee et al. 2019): 14,977,728 weights on CIFAR-10."""
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
    """Stages of 2, 2, 3, 3, 3 convolutions, the third ones with kernels `third`; `hidden` linear layers."""
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
        # The bias does nothing before BatchNorm, but the paper's code has it and its sizes count it.
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

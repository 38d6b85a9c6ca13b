"""Residual networks for small images: the ResNets of ImageNet and of CIFAR, and wide ResNets."""

from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor, nn

from sweep.data import Shape


def imagenet_resnet(depth: int, shape: Shape, classes: int) -> nn.Module:
    """ResNet-18, -34 or -50 (He et al. 2016), in the form that CIFAR studies use.

    The first convolution is 3×3 of stride 1, and no pooling follows it. The networks have 11,164,352,
    21,265,088 and 23,467,712 weights on CIFAR-10.
    """
    import torchvision

    network: nn.Module = torchvision.models.get_model(f"resnet{depth}", weights=None, num_classes=classes)
    network.conv1 = nn.Conv2d(shape[0], 64, 3, padding=1, bias=False)
    network.maxpool = nn.Identity()
    return network


def cifar_resnet(depth: int, shape: Shape, classes: int) -> nn.Module:
    """ResNet-20, -32 or -56 of CIFAR (He et al. 2016), with 1×1 convolutions as shortcuts between stages.

    The networks have 270,896, 464,432 and 851,504 weights on CIFAR-10: 2,560 more than with the shortcuts of
    the paper, which pad with zeros.
    """
    from torchvision.models.resnet import BasicBlock

    def block(channels: int, width: int, stride: int) -> nn.Module:
        shortcut = None
        if channels != width:
            convolution = nn.Conv2d(channels, width, 1, stride, bias=False)
            shortcut = nn.Sequential(convolution, nn.BatchNorm2d(width))
        basic: nn.Module = BasicBlock(channels, width, stride, shortcut)
        return basic

    first = nn.Conv2d(shape[0], 16, 3, padding=1, bias=False)
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv1=first,
            bn1=nn.BatchNorm2d(16),
            relu=nn.ReLU(inplace=True),
            **_stages(block, (16, 32, 64), (depth - 2) // 6),
            avgpool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(64, classes),
        )
    )


def wide_resnet(depth: int, factor: int, shape: Shape, classes: int) -> nn.Module:
    """WRN-depth-factor (Zagoruyko & Komodakis 2016), without dropout.

    WRN-16-8, 16-10 and 22-8 have 10,954,160, 17,107,632 and 17,147,312 weights on CIFAR-10.
    """
    widths = (16 * factor, 32 * factor, 64 * factor)
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv1=nn.Conv2d(shape[0], 16, 3, padding=1, bias=False),
            **_stages(WideBlock, widths, (depth - 4) // 6),
            bn=nn.BatchNorm2d(widths[-1]),
            relu=nn.ReLU(inplace=True),
            avgpool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(widths[-1], classes),
        )
    )


def _stages(
    block: Callable[[int, int, int], nn.Module], widths: tuple[int, int, int], blocks: int
) -> dict[str, nn.Module]:
    """Three stages of residual blocks.

    Args:
        block: input channels, width and stride → a block.
        widths: of the stages.
        blocks: number of blocks in each stage.
    """
    stages: dict[str, nn.Module] = {}
    channels = 16
    for number, width in enumerate(widths, 1):
        stage = [block(channels, width, 1 if number == 1 else 2)]
        stage += [block(width, width, 1) for _ in range(blocks - 1)]
        stages[f"layer{number}"] = nn.Sequential(*stage)
        channels = width
    return stages


class WideBlock(nn.Module):
    """A block with BatchNorm and ReLU before each convolution; a 1×1 shortcut shares the first of these."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        same = channels == width
        self.shortcut = None if same else nn.Conv2d(channels, width, 1, stride, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """The inputs, or a 1×1 convolution of them, plus the result of two 3×3 convolutions."""
        active = self.relu(self.bn1(inputs))
        outputs: Tensor = self.conv2(self.relu(self.bn2(self.conv1(active))))
        return outputs + (inputs if self.shortcut is None else self.shortcut(active))

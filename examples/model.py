import torch
from torch import nn


class Block(nn.Module):
    """A block of ConvNeXt: depthwise 7×7, normalization, two linear layers, and a scaled shortcut."""

    def __init__(self, width):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.mix = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.scale = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x):
        mixed = self.mix(self.depthwise(x).permute(0, 2, 3, 1)) * self.scale
        return x + mixed.permute(0, 3, 1, 2)


def convnext(shape, classes, *, width: int = 16, depth: int = 2):
    """A small ConvNeXt (Liu et al. 2022): a stem that halves the image, blocks, a linear layer."""
    stem = nn.Conv2d(shape[0], width, 2, stride=2)
    blocks = [Block(width) for _ in range(depth)]
    return nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))

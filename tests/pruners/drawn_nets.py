"""Networks that are drawn step by step, for tests of any way in which channels are coupled."""

import torch
from torch import nn

from tests.pruners.unit_nets import conv


class Halves(nn.Module):
    def forward(self, x):
        one, other = x.chunk(2, 1)
        return torch.cat([other, one.tanh()], 1)


class Drawn(nn.Module):
    """A network of drawn steps: each appends a map made of earlier ones; the last ones are read."""

    def __init__(self, steps):
        super().__init__()
        self.steps, widths = steps, [4]
        self.stem = conv(2, 4)
        for number, (kind, first, second, width) in enumerate(steps):
            a, b = widths[first % len(widths)], widths[second % len(widths)]
            if kind == "add":
                layer = nn.ModuleList([conv(a, width, 1), conv(b, width, 1)])
            elif kind == "cat":
                layer, width = nn.Identity(), a + b
            elif kind == "residual":
                layer, width = (
                    nn.Sequential(conv(a, width), nn.BatchNorm2d(width), nn.ReLU(), conv(width, a)),
                    a,
                )
            elif kind == "groups":
                layer, width = conv(a, 2 * a, groups=2 if a % 2 == 0 else 1), 2 * a
            elif kind == "depthwise":
                layer, width = nn.Sequential(conv(a, a, groups=a), nn.BatchNorm2d(a), nn.Sigmoid()), a
            elif kind == "gate":
                layer, width = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(a, a, 1), nn.Sigmoid()), a
            else:
                layer, width = (nn.Identity() if a % 2 else Halves()), a
            self.add_module(f"step{number}", layer)
            widths.append(width)
        self.head = nn.Linear(sum(widths[-2:]), 3)

    def forward(self, x):
        maps = [self.stem(x)]
        for number, (kind, first, second, _) in enumerate(self.steps):
            layer, a, b = (
                self.get_submodule(f"step{number}"),
                maps[first % len(maps)],
                maps[second % len(maps)],
            )
            if kind == "add":
                maps.append(layer[0](a) + layer[1](b))
            elif kind == "cat":
                maps.append(torch.cat([a, b], 1))
            elif kind == "residual":
                maps.append(a + layer(a))
            elif kind == "gate":
                maps.append(a * layer(a))
            else:
                maps.append(layer(a))
        return self.head(torch.cat(maps[-2:], 1).mean((2, 3)))


KINDS = ("add", "cat", "residual", "groups", "depthwise", "gate", "halves")

"""Small networks with everything that couples channels, and networks with random removed units."""

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import nn

import pruners
from pruners.coupling import channel_groups
from pruners.narrowing import narrowed
from pruners.units import unit_masks


class Function(nn.Module):
    """A network of some layers and a function of its own: `forward(net, x)`."""

    def __init__(self, forward, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.function = forward

    def forward(self, inputs):
        return self.function(self, inputs)


class Attention(nn.Module):
    """Attention as vision transformers write it, with one matrix for queries, keys and values."""

    def __init__(self, style):
        super().__init__()
        self.num_heads, self.head_dim, self.style = 4, 6, style
        self.qkv, self.proj = nn.Linear(16, 3 * 24), nn.Linear(24, 16)

    def forward(self, x):
        n, length, _ = x.shape
        if self.style == "unbind":
            qkv = self.qkv(x).reshape(n, length, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
            q, k, v = qkv.unbind(0)
            attended = (q * self.head_dim**-0.5 @ k.transpose(-2, -1)).softmax(-1) @ v
        elif self.style == "einsum":
            parts = [part.view(n, length, self.num_heads, -1) for part in self.qkv(x).chunk(3, -1)]
            shares = torch.einsum("nihd,njhd->nhij", parts[0], parts[1]).softmax(-1)
            attended = torch.einsum("nhij,njhd->nhid", shares, parts[2])
        else:
            parts = [part.view(n, length, self.num_heads, -1) for part in self.qkv(x).chunk(3, -1)]
            attended = F.scaled_dot_product_attention(*(part.transpose(1, 2) for part in parts))
        return self.proj(attended.transpose(1, 2).flatten(2))


class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.LayerNorm(16), nn.LayerNorm(16)
        self.tokens = nn.Sequential(nn.Linear(10, 12), nn.GELU(), nn.Linear(12, 10))
        self.channels = nn.Sequential(nn.Linear(16, 20), nn.GELU(), nn.Linear(20, 16))

    def forward(self, x):
        x = x + self.tokens(self.first(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.second(x))


def conv(inputs, outputs, kernel=3, **options):
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **options)


def head(channels):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 5))


def _shuffled(x, groups):
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


def _encoder_layer(**options):
    return nn.TransformerEncoderLayer(16, 4, 24, dropout=0.0, batch_first=True, **options)


IMAGES, SEQUENCES, WORDS = (2, 3, 8, 8), (2, 10, 16), (2, 7)
# Name → (network, shape of its inputs, units).
NETS = {
    "plain": lambda: (
        nn.Sequential(conv(3, 6), nn.BatchNorm2d(6), nn.ReLU(), conv(6, 8), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 5)),
        IMAGES,
        14,
    ),
    "residual": lambda: (
        Function(
            lambda net, x: net.head(F.relu((s := net.stem(x)) + net.scale * net.outer(F.relu(net.norm(net.inner(s)))))),
            stem=conv(3, 6),
            inner=conv(6, 4),
            norm=nn.BatchNorm2d(4),
            outer=conv(4, 6),
            scale=nn.Parameter(torch.ones(6, 1, 1)),
            head=head(6),
        ),
        IMAGES,
        10,
    ),
    "shortcut padded with zeros": lambda: (
        Function(
            lambda net, x: net.head(F.relu(F.pad((s := net.stem(x))[:, :, ::2, ::2], (0, 0, 0, 0, 3, 3)) + net.down(s))),
            stem=conv(3, 6),
            down=conv(6, 12, stride=2),
            head=head(12),
        ),
        IMAGES,
        6,
    ),
    "concatenation, with the input too": lambda: (
        Function(
            lambda net, x: net.head(torch.cat([a := net.a(x), b := net.b(torch.cat([x, a], 1)), b[:, :, :, :]], 1)),
            a=conv(3, 6),
            b=conv(9, 4),
            head=head(14),
        ),
        IMAGES,
        10,
    ),
    "groups and shuffle": lambda: (
        nn.Sequential(
            conv(3, 12),
            nn.BatchNorm2d(12),
            conv(12, 27, 1, groups=3),
            Function(lambda net, x: _shuffled(x, 3)),
            conv(27, 27, groups=27),
            conv(27, 18, 1, groups=3),
            nn.ChannelShuffle(3),
            head(18),
        ),
        IMAGES,
        4 + 3 + 6,
    ),
    "depthwise with two outputs each": lambda: (
        nn.Sequential(conv(3, 6), conv(6, 12, groups=6), nn.ReLU(), conv(12, 4, 1), head(4)),
        IMAGES,
        10,
    ),
    "transposed": lambda: (
        nn.Sequential(
            conv(3, 8),
            nn.ConvTranspose2d(8, 6, 3),
            nn.ConvTranspose2d(6, 8, 3, groups=2),
            nn.ConvTranspose2d(8, 16, 3, groups=8),
            conv(16, 4, 1),
            head(4),
        ),
        IMAGES,
        8 + 3 + 4 + 4,
    ),
    "norms": lambda: (
        nn.Sequential(
            conv(3, 12), nn.GroupNorm(4, 12), nn.PReLU(12), conv(12, 6), nn.InstanceNorm2d(6, affine=True), conv(6, 4), nn.GroupNorm(1, 4), head(4)
        ),
        IMAGES,
        4 + 6,
    ),
    "gates": lambda: (
        Function(
            lambda net, x: net.head(
                (s := net.stem(x))
                * net.up(F.relu(net.down(F.adaptive_avg_pool2d(s, 1)))).sigmoid()
                * net.place(torch.cat([(f := net.free(x)).mean(1, True), f.amax(1, True)], 1)).sigmoid()
            ),
            stem=conv(3, 8),
            down=conv(8, 4, 1),
            up=conv(4, 8, 1),
            free=conv(3, 5),
            place=conv(2, 1),
            head=head(8),
        ),
        IMAGES,
        12,
    ),
    "gated linear units": lambda: (
        nn.Sequential(nn.Linear(16, 24), nn.GLU(), nn.Linear(12, 6), nn.PReLU(), nn.Linear(6, 4)),
        SEQUENCES,
        18,
    ),
    "pixel shuffle": lambda: (nn.Sequential(conv(3, 16), nn.PixelShuffle(2), conv(4, 6), head(6)), IMAGES, 10),
    "attention, unbound": lambda: (nn.Sequential(Attention("unbind"), nn.Linear(16, 4)), SEQUENCES, 20),
    "attention, chunked": lambda: (nn.Sequential(Attention("chunk"), nn.Linear(16, 4)), SEQUENCES, 20),
    "attention, einsum": lambda: (nn.Sequential(Attention("einsum"), nn.Linear(16, 4)), SEQUENCES, 20),
    "encoder": lambda: (nn.Sequential(_encoder_layer(), _encoder_layer(norm_first=True), nn.Linear(16, 3)), SEQUENCES, 56),
    "decoder": lambda: (
        Function(
            lambda net, x: net.head(net.decoder(x, x.flip(1), tgt_mask=torch.ones(10, 10).triu(1).bool())),
            decoder=nn.TransformerDecoderLayer(16, 4, 24, dropout=0.0, batch_first=True),
            head=nn.Linear(16, 3),
        ),
        SEQUENCES,
        32,
    ),
    "attention with a padding mask and other widths": lambda: (
        Function(
            lambda net, x: net.head(
                net.attention(x, y := net.read(x), y, key_padding_mask=torch.arange(10).expand(len(x), 10) > 7)[0]
            ),
            read=nn.Linear(16, 6),
            attention=nn.MultiheadAttention(16, 4, kdim=6, vdim=6, batch_first=True),
            head=nn.Linear(16, 3),
        ),
        SEQUENCES,
        26,
    ),
    "mixer": lambda: (nn.Sequential(Mixer(), Mixer(), nn.Linear(16, 3)), SEQUENCES, 64),
    "lstm": lambda: (
        Function(
            lambda net, x: net.head(net.cell(net.read(x))[0][:, -1]),
            read=nn.Linear(16, 6),
            cell=nn.LSTM(6, 5, 2, bidirectional=True, batch_first=True),
            head=nn.Linear(10, 3),
        ),
        SEQUENCES,
        11,
    ),
    "gru": lambda: (
        Function(lambda net, x: net.head(net.cell(x)[1][-1]), cell=nn.GRU(16, 5, 2), head=nn.Linear(5, 3)),
        SEQUENCES,
        5,
    ),
    "rnn": lambda: (
        Function(lambda net, x: net.head(net.cell(x)[0]), cell=nn.RNN(16, 5), head=nn.Linear(5, 3)),
        SEQUENCES,
        5,
    ),
    "words": lambda: (
        nn.Sequential(nn.Embedding(9, 6), Function(lambda net, x: x.mT), nn.Conv1d(6, 8, 3), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(8, 3)),
        WORDS,
        14,
    ),
    "shared weights": lambda: (
        Function(
            lambda net, x: net.out(F.relu(F.linear(F.relu(x @ net.a.weight.t() + net.a.bias), net.a.weight.t()))),
            a=nn.Linear(16, 8),
            out=nn.Linear(16, 3),
        ),
        SEQUENCES,
        8,
    ),
    "volumes": lambda: (
        nn.Sequential(nn.Conv3d(3, 6, 3), nn.BatchNorm3d(6), nn.AvgPool3d(2), nn.Flatten(), nn.Linear(6 * 27, 4)),
        (2, 3, 8, 8, 8),
        6,
    ),
}  # fmt: skip


def randomized(model, seed=0):
    """The model with random scales, shifts, running statistics and biases, so that none of them is neutral."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1 or "scale" in name:
                parameter.copy_(0.3 + torch.rand(parameter.shape, generator=generator))
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.copy_(0.3 + torch.rand(buffer.shape, generator=generator))
    return model


def random_inputs(shape):
    generator = torch.Generator().manual_seed(1)
    if shape == WORDS:
        return torch.randint(9, shape, generator=generator)
    return torch.randn(shape, generator=generator)


def some_removed(groups, seed=0):
    """Name of a group → which units are kept: about three of five, at least one of each group."""
    generator = torch.Generator().manual_seed(seed)
    kept = {group.name: torch.rand(group.size, generator=generator) < 0.6 for group in groups}
    for stay in kept.values():
        stay[int(torch.randint(len(stay), (1,), generator=generator))] = True
    return kept


def masked_and_narrowed(model, inputs, seed=0, exclude=()):
    """The network with masks of random removed units, and without the units; and these units."""
    groups = channel_groups(model, inputs, exclude)
    kept = some_removed(groups, seed)
    masked = deepcopy(model)
    pruners.apply_masks(masked, unit_masks(groups, kept, dict(masked.named_parameters())))
    return masked, narrowed(model, groups, kept), groups, kept


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())

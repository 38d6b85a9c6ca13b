"""Networks by name: built for an image shape and a number of classes, initialized from a seed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache, partial
from typing import Literal

import torch
from torch import Tensor, nn

from sweep import parts
from sweep.data import Shape
from sweep.errors import BadInput
from sweep.models import (
    convnets,
    decoders,
    initialization,
    lenets,
    pretrained,
    recurrent,
    resnets,
    transformers,
)
from sweep.parts import Arguments

TORCHVISION = "torchvision:"


@dataclass(frozen=True)
class Model:
    """How to build a network, and which images it accepts.

    Attributes:
        build: shape of an input and number of classes or outputs → network.
        smallest: the smallest image side that leaves at least one pixel after all pooling.
        patch: side of the square patches that it cuts images into, which must be square; None: no patches.
        bf16: whether its layers compute in bfloat16 on a GPU.
        norms_alone: whether a normalization may read the outputs of one layer alone, and so go with filters.
        inputs: which inputs it accepts: `images`, which are real numbers (C, H, W); `real` numbers of any
            shape; `tokens`, which are whole numbers (T,); or `any`.
    """

    build: Callable[[Shape, int], nn.Module]
    smallest: int = 1
    patch: int | None = None
    bf16: bool = True
    norms_alone: bool = True
    inputs: Literal["images", "real", "tokens", "any"] = "images"


MODELS = {
    "lenet-300-100": Model(lenets.lenet_300_100, norms_alone=False, inputs="real"),
    "lenet-5-caffe": Model(lenets.lenet_5_caffe, 16, norms_alone=False),
    "lenet-5-mini": Model(lenets.lenet_5_mini, 28, norms_alone=False),
    "conv-5": Model(lenets.conv_5, 4),
    "alexnet-s": Model(convnets.alexnet_s, 16),
    "alexnet-b": Model(convnets.alexnet_b, 16),
    "vgg-16": Model(convnets.vgg_16, 32),
    "vgg-19": Model(convnets.vgg_19, 32),
    "vgg-c": Model(convnets.vgg_c, 16),
    "vgg-d": Model(convnets.vgg_d, 16),
    "vgg-like": Model(convnets.vgg_like, 16),
    "resnet-18": Model(partial(resnets.imagenet_resnet, 18), 8),
    "resnet-34": Model(partial(resnets.imagenet_resnet, 34), 8),
    "resnet-50": Model(partial(resnets.imagenet_resnet, 50), 8),
    "resnet-20": Model(partial(resnets.cifar_resnet, 20), 4),
    "resnet-32": Model(partial(resnets.cifar_resnet, 32), 4),
    "resnet-56": Model(partial(resnets.cifar_resnet, 56), 4),
    "wrn-16-8": Model(partial(resnets.wide_resnet, 16, 8), 4),
    "wrn-16-10": Model(partial(resnets.wide_resnet, 16, 10), 4),
    "wrn-22-8": Model(partial(resnets.wide_resnet, 22, 8), 4),
    "lstm-s": Model(partial(recurrent.RowReader, nn.LSTM, 128), bf16=False, norms_alone=False),
    "lstm-b": Model(partial(recurrent.RowReader, nn.LSTM, 256), bf16=False, norms_alone=False),
    "gru-s": Model(partial(recurrent.RowReader, nn.GRU, 128), bf16=False, norms_alone=False),
    "gru-b": Model(partial(recurrent.RowReader, nn.GRU, 256), bf16=False, norms_alone=False),
    "vit-tiny": Model(transformers.vit_tiny, transformers.PATCH, patch=transformers.PATCH, norms_alone=False),
    "gpt-tiny": Model(decoders.gpt_tiny, norms_alone=False, inputs="tokens"),
    "gpt-mini": Model(decoders.gpt_mini, norms_alone=False, inputs="tokens"),
}


def find(name: str) -> Model:
    """The model of a name: one of `MODELS`, or one of torchvision or transformers, or a part.

    Raises:
        BadInput: there is no such model; the message suggests the nearest names.
    """
    if name in MODELS:
        return MODELS[name]
    if parts.is_name(name):
        part = parts.need(name)
        model = parts.made(Model, part, part)
        # A part that says nothing of the sides of images may take other inputs.
        return model if model.smallest > 1 or model.patch else replace(model, inputs="any")
    if pretrained.is_named(name):
        return Model(partial(pretrained.build, name), norms_alone=False, inputs="tokens")
    inside = name.removeprefix(TORCHVISION)
    if inside != name and inside in _of_torchvision():
        return Model(partial(_from_torchvision, inside))
    names = {each: TORCHVISION + each for each in _of_torchvision()} | {each: each for each in MODELS}
    near = [names[each] for each in get_close_matches(inside, names)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(MODELS)}, {TORCHVISION}NAME"
    raise BadInput(f"no such model: {name}; {hint}")


def has_norms_alone(name: str) -> bool:
    """Whether a normalization may read the outputs of one layer alone; of parts and of torchvision: yes."""
    return not pretrained.is_named(name) and (name not in MODELS or MODELS[name].norms_alone)


def check(name: str, shape: Shape, dtype: torch.dtype = torch.float32) -> None:
    """Check that there is such a network, and that it accepts inputs of this shape and type.

    Raises:
        BadInput: there is none, or it does not.
    """
    model = find(name)
    real = bool(shape) and dtype.is_floating_point
    if model.inputs == "tokens":
        asked, fits = "tokens, whole numbers (N, T)", len(shape) == 1 and not real
    else:
        asked, fits = "real numbers (N, ...)", real or model.inputs == "any"
    if not fits:
        kind = str(dtype).removeprefix("torch.")
        raise BadInput(
            f"{name} needs {asked} and these inputs are (N, {', '.join(map(str, shape))}) of "
            f"{kind}: choose another model or dataset"
        )
    if model.inputs != "images":
        return
    if len(shape) != 3:
        raise BadInput(
            f"{name} needs images and these inputs are of shape {shape}: choose another model or dataset; "
            "images are uint8 (N, C, H, W)"
        )
    _, height, width = shape
    if min(height, width) < model.smallest:
        side = f"at least {model.smallest}×{model.smallest}"
        problem = f"needs images of {side} pixels and these are {height}×{width}"
    elif model.patch and (height != width or height % model.patch):
        problem = f"needs square images of a side that {model.patch} divides and these are {height}×{width}"
    elif name.startswith(TORCHVISION) and (error := _refusal(name, shape)):
        problem = f"does not take images of {shape[0]}×{height}×{width} ({error})"
    else:
        return
    raise BadInput(f"{name} {problem}: choose another model or dataset")


def build(
    name: str,
    shape: Shape,
    classes: int,
    seed: int,
    init: str = "kaiming",
    *,
    dtype: torch.dtype = torch.float32,
    arguments: Arguments = (),
    init_arguments: Arguments = (),
) -> nn.Module:
    """A fresh network, in channels-last layout: weights as one of `INITIALIZATIONS` draws them, biases 0.

    Embeddings are drawn so too where the initialization is for them, else they are as torch draws them. Each
    gate of an LSTM or GRU, and each of attention's input projections, is drawn as a matrix of its own; for
    the biases of gates see `RowReader`. Other parameters, such as BatchNorm's, keep the values of their
    layers. The global random state is not changed.

    Args:
        shape: of one input.
        classes: number of classes, or of other outputs.
        dtype: of the inputs.
        arguments: parameters of the model.
        init_arguments: parameters of the initialization.

    Raises:
        BadInput: as `check`.
    """
    check(name, shape, dtype)
    start = initialization.find(init)
    draw = parts.bind(start.draw, init_arguments)
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU too
        model: nn.Module = parts.bind(find(name).build, arguments)(shape, classes)
        for module in model.modules():
            for weight in _weights(module, start.embeddings):
                draw(weight)
            if start.by_depth and isinstance(module, decoders.BranchEnd):
                module.weight.detach().mul_(module.branches**-0.5)
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
    # In this layout convolutions of small images run a third faster on a CPU, and use tensor cores on a GPU.
    return model.to(memory_format=torch.channels_last)


def _weights(module: nn.Module, embeddings: bool) -> list[Tensor]:
    """A layer's own weight matrices; those that the layer stores stacked are returned one by one."""
    if isinstance(module, nn.Conv2d | nn.Linear) or (embeddings and isinstance(module, nn.Embedding)):
        return [module.weight]
    stacked = {nn.LSTM: 4, nn.GRU: 3, nn.MultiheadAttention: 3}.get(type(module))
    if not stacked:
        return []
    matrices = [p.detach() for name, p in module.named_parameters(recurse=False) if "weight" in name]
    return [part for matrix in matrices for part in matrix.chunk(stacked)]


@lru_cache
def _of_torchvision() -> list[str]:
    import torchvision  # takes a second, so it is imported only where it is used

    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names


def _from_torchvision(name: str, shape: Shape, classes: int) -> nn.Module:
    import torchvision

    # Auxiliary classifiers would make the outputs tuples in training, and their own initialization is slow.
    plain = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    network: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes, **plain)
    return network


@lru_cache
def _refusal(name: str, shape: Shape) -> str | None:
    """The error of a network for images of this shape; None if it accepts them. Tried without arithmetic."""
    construct = partial(find(name).build, shape, 2)
    with torch.random.fork_rng(devices=()):
        try:
            with torch.device("meta"):
                model = construct()
        except NotImplementedError:  # RegNets compute their widths with tensors
            model = construct().to("meta")
    try:
        model.eval()(torch.zeros(1, *shape, device="meta"))
    except (RuntimeError, AssertionError, ValueError) as error:
        return str(error).strip().partition("\n")[0]
    return None

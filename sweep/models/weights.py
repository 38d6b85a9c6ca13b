"""Trained weights: read from a file without running code in it, and loaded into a network."""

import io
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import safetensors.torch
import torch
from torch import Tensor, nn

import pruners
from pruners import interop
from sweep.errors import BadInput
from sweep.models.catalog import TORCHVISION
from sweep.store.weights import label

# Names in a state dict → tensors.
State = Mapping[str, Tensor]
# What wrappers of a network put before the names of its weights.
_PREFIXES = ("module.", "model.", "_orig_mod.")
# Under what keys checkpoints hold the weights beside other things.
_INSIDE = ("state_dict", "model")
# Auxiliary classifiers of torchvision's Inception networks, which the networks here do not have.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
# Names in the files of torchvision's DenseNets; the networks have the same without the second dot.
_OLD_NAME = re.compile(r"(.*denselayer\d+\.(?:norm|conv))\.([12]\..*)")
# A file of torchvision's is named by the first digits of its hash, as in resnet18-f37072fd.pth.
_OF_TORCHVISION = re.compile(r"[\w.-]+-(?P<hash>[0-9a-f]{8,10})\.pth@(?P=hash)")
# Names that an error lists.
_LISTED = 3


def parse(name: str, content: bytes) -> State:
    """The weights in the content of a file, on the CPU. No code in the file is run.

    Args:
        name: of the weights in a config; its file's ending says the format.

    Raises:
        BadInput: the content is no file of weights.
    """
    file = label(name)
    try:
        if file.endswith(".safetensors"):
            found: object = safetensors.torch.load(content)
        else:
            with warnings.catch_warnings(action="ignore"):  # about old formats
                found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # both libraries raise many kinds for a damaged file
        hint = "" if file.endswith(".safetensors") else ": save the network's state_dict()"
        raise BadInput(f"weights {file}: no weights can be read from it ({_short(error)}){hint}") from None
    for key in _INSIDE:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) and _is_plain(value)
        for key, value in found.items()
    ):
        raise BadInput(f"weights {file}: it holds something else than names with plain tensors")
    return found


def load(network: nn.Module, name: str, given: State) -> list[str]:
    """Load trained weights into a network, with the statistics of its BatchNorms.

    Names and shapes are those of the network, but for a prefix of a wrapper. Only torchvision's weights may
    have another number of classes: the output layer then stays as it is drawn. Floating-point numbers of any
    precision become those of the network.

    Returns:
        The names of the weights that stay as they are drawn.

    Raises:
        BadInput: these are no weights of this network.
    """
    own, file = network.state_dict(), label(name)
    of_torchvision = bool(_OF_TORCHVISION.fullmatch(name))
    masks = given
    # Masks beside their weights, as `pruners.interop.state_dict` writes them, are no weights.
    given = interop.weights_of(given) | {key: given[key] for key in given if key in own}
    given = _renamed(given, own, of_torchvision)
    # Files of old versions of PyTorch do not have this count.
    missing = [key for key in own if key not in given and not key.endswith("num_batches_tracked")]
    if missing:
        raise BadInput(f"weights {file}: they lack {_listed(missing)}")
    if unexpected := [key for key in given if key not in own]:
        raise BadInput(f"weights {file}: the network has no {_listed(unexpected)}")
    other = [key for key in given if given[key].shape != own[key].shape]
    if other and not (of_torchvision and set(other) <= _outputs(network)):
        if any(f"{key}_mask" in masks and masks[f"{key}_mask"].shape == own[key].shape for key in other):
            raise BadInput(f"weights {file}: they are of a shrunk network: name its trial, run:TRIAL_ID")
        shapes = [f"{key} {_shape(given[key])}, in the network {_shape(own[key])}" for key in other]
        raise BadInput(f"weights {file}: other shapes: {_listed(shapes)}")
    for key, value in given.items():
        if value.is_floating_point() != own[key].is_floating_point() or value.is_complex():
            kinds = (str(each.dtype).removeprefix("torch.") for each in (value, own[key]))
            raise BadInput(f"weights {file}: {key} is {', in the network '.join(kinds)}")
        if value.is_floating_point() and not value.float().isfinite().all():
            raise BadInput(f"weights {file}: {key} has values that are not finite")
    with torch.no_grad():
        for key in given.keys() - set(other):
            own[key].copy_(given[key])
    return other


def of_torchvision(model: str) -> str:
    """The name, in a config, of the default weights of a network of torchvision.

    Args:
        model: as a config names it, `torchvision:NAME`.
    """
    return _name(_urls(model)[0])


def download(model: str, name: str) -> Path:
    """The file of weights of a network of torchvision, in torch's own cache; it is downloaded if missing.

    Args:
        model: as a config names it, `torchvision:NAME`.
        name: of the weights in a config.

    Raises:
        BadInput: the network has no such weights, or they cannot be downloaded.
    """
    urls = [url for url in _urls(model) if _name(url) == name] if model.startswith(TORCHVISION) else []
    if not urls:
        raise BadInput(f"weights {label(name)}: their file is not here, and {model} has none of this name")
    path = Path(torch.hub.get_dir()) / "checkpoints" / label(name)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(urls[0], str(path), name.rpartition("@")[2], progress=False)
        except (OSError, RuntimeError) as error:
            raise BadInput(
                f"weights {label(name)}: cannot be downloaded ({_short(error)}): put {urls[0]} at {path}"
            ) from None
    return path


def _urls(model: str) -> list[str]:
    """Where the weights of a network of torchvision are, the default ones first."""
    import torchvision  # takes a second, so it is imported only where it is used

    every = torchvision.models.get_model_weights(model.removeprefix(TORCHVISION))
    return [every.DEFAULT.url, *(each.url for each in every)]


def _name(url: str) -> str:
    file = Path(urlsplit(url).path)
    return f"{file.name}@{file.stem.rpartition('-')[2]}"


def _renamed(given: State, own: State, of_torchvision: bool) -> State:
    """The weights by the names that the network has for them."""
    if of_torchvision:
        return {_OLD_NAME.sub(r"\1\2", key): given[key] for key in given if not key.startswith(_AUXILIARY)}
    for prefix in _PREFIXES:
        bare = {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}
        if len(bare) == len(given) and not given.keys() <= own.keys():
            given = bare
    return given


def _outputs(network: nn.Module) -> set[str]:
    """The names of the weight and the bias of the output layer."""
    layer = list(pruners.prunable(network))[-1].rpartition(".")[0]
    return {f"{layer}.weight", f"{layer}.bias"}


def _is_plain(value: Tensor) -> bool:
    return value.layout == torch.strided and not value.is_quantized and value.device.type == "cpu"


def _listed(words: Iterable[str]) -> str:
    every = list(words)
    more = len(every) - _LISTED
    return ", ".join(every[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "one number"


def _short(error: BaseException) -> str:
    """The first line of an error, at most 80 letters of it."""
    return (str(error).strip().partition("\n")[0] or type(error).__name__)[:80]

"""Decoders of the package transformers: built from a config of theirs, and trained as the own ones are."""

import json
import os
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sweep.data import Shape
from sweep.errors import BadInput

# What the name begins with: behind it a study has a folder, and a config what its config.json says.
_PREFIX = "transformers:"
# What it begins with in a config.
TRANSFORMERS = _PREFIX + "{"
# Entries of config.json that change no network.
_ASIDE = frozenset({"transformers_version", "dtype", "torch_dtype", "use_cache", "_name_or_path"})


class Causal(nn.Module):
    """A decoder of transformers that gives scores of the next tokens; its parameters keep their names."""

    def __init__(self, network: Any) -> None:
        """Take the parts of a network that has a decoder `model` and a head `lm_head`, as Llama has."""
        super().__init__()
        self.model, self.lm_head = network.model, network.lm_head

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (N, T) → scores of the tokens that follow, (N, tokens, T)."""
        hidden = self.model(input_ids=tokens, use_cache=False)[0]
        scores: Tensor = self.lm_head(hidden)
        return scores.transpose(1, 2)


def name(folder: Path) -> str:
    """The name, in a config, of the network of a folder: the content of its config.json.

    So a trial is of the network and not of the place where the folder lies, and workers need no folder.

    Raises:
        BadInput: there is no such file, or it cannot be read.
    """
    file = folder / "config.json"
    try:
        said = json.loads(file.read_text("utf-8"))
    except OSError:
        raise BadInput(f"{_PREFIX}{folder}: there is no {file}: name a folder of a saved model") from None
    except ValueError:
        raise BadInput(f"{file}: it is no JSON: save the model again") from None
    if not isinstance(said, dict) or "model_type" not in said:
        raise BadInput(f"{file}: it has no model_type: name a folder of a saved model")
    kept = {key: value for key, value in said.items() if key not in _ASIDE and value is not None}
    return _PREFIX + json.dumps(kept, sort_keys=True, separators=(",", ":"))


def is_named(name: str) -> bool:
    """Whether a name is of such a network, as configs have it."""
    return name.startswith(TRANSFORMERS)


def build(name: str, shape: Shape, classes: int) -> nn.Module:
    """The network of a name, with attention as torch computes it. Nothing is downloaded.

    Args:
        name: as configs have it.
        classes: tokens of the data; the network has as many or more.

    Raises:
        BadInput: the package is missing or does not know the network, or the network has other parts than a
            decoder and a head of its own, or takes too few tokens.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        from transformers import AutoConfig, AutoModelForCausalLM
    except ImportError:
        raise BadInput(f"model {_PREFIX}DIR: pip install 'secateur[transformers]'") from None
    fields = json.loads(name.removeprefix(_PREFIX))
    try:
        config = AutoConfig.for_model(**fields)
        network = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    except (ValueError, KeyError, TypeError, ImportError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise BadInput(f"model {_PREFIX}DIR of type {fields['model_type']}: {reason}") from None
    if not isinstance(getattr(network, "model", None), nn.Module) or not isinstance(
        getattr(network, "lm_head", None), nn.Linear
    ):
        raise BadInput(
            f"model {_PREFIX}DIR of type {fields['model_type']}: it has no decoder and head, as Llama has: "
            "take another"
        )
    if config.tie_word_embeddings:
        raise BadInput(
            f"model {_PREFIX}DIR: its head is its embedding: set tie_word_embeddings to false in config.json"
        )
    if config.vocab_size < classes:
        raise BadInput(
            f"model {_PREFIX}DIR: it knows {config.vocab_size} tokens and the data have {classes}: "
            "take another"
        )
    return Causal(network)

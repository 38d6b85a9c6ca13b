"""The files of a trial's final network: weights with masks, and exported programs."""

import io
import json
import warnings
from collections.abc import Mapping
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

import pruners
from pruners import compensation, interop
from sweep import models
from sweep.data import Data
from sweep.errors import BadInput
from sweep.store import kept
from sweep.store.places import Place, put, remedy
from sweep.study.identity import Trial
from sweep.trial import masking
from sweep.trial.rows import Row
from sweep.trial.stages import Stages

SUFFIX = ".safetensors"


class Export(StrEnum):
    """The formats of exported programs."""

    ONNX = "onnx"
    TORCH = "torch"

    @property
    def suffix(self) -> str:
        """The ending of its files."""
        return ".onnx" if self is Export.ONNX else ".pt2"

    def check(self) -> None:
        """Check that the packages which the export needs are installed.

        Raises:
            BadInput: one is not.
        """
        for package in ("onnx", "onnxscript") if self is Export.ONNX else ():
            if not find_spec(package):
                raise BadInput(f"--export {self}: it needs {package}: pip install 'secateur[onnx]'")


def header_of(trial: Trial, stages: Stages, outcome: Row) -> dict[str, str]:
    """What the header of each file says: text for text, and JSON for all else.

    `mean` and `deviation` of each channel normalize pixel values from 0 to 255. They are null where inputs
    are no images.
    """
    data = stages.data
    values = {
        "shape": data.shape,
        "classes": data.classes,
        "mean": _listed(data.mean),
        "deviation": _listed(data.deviation),
        **{column: outcome[column] for column in ("params", "kept", "density", "test_loss", "test_accuracy")},
    }
    texts = {"trial_id": trial.id, "config": trial.canonical, "task": data.task, "torch": torch.__version__}
    return texts | {name: json.dumps(value) for name, value in values.items()}


def _listed(channels: Tensor | None) -> list[float] | None:
    return None if channels is None else channels.flatten().tolist()


def write_weights(path: Path, stages: Stages, header: Mapping[str, str]) -> None:
    """Write the final weights, with pruned weights at 0, and each mask as `NAME_mask` beside its weight.

    Args:
        path: of a safetensors file. An existing file is replaced, atomically.
        header: the header of the file.

    Raises:
        BadInput: the file cannot be written.
    """
    _write(path, _encoded(stages, header))


def keep(folder: Place, trial: Trial, stages: Stages, outcome: Row) -> None:
    """Write the same file for a trial of a study.

    Args:
        folder: of the study's results.

    Raises:
        BadInput: the file cannot be written.
    """
    try:
        kept.write(folder, trial.id, _encoded(stages, header_of(trial, stages, outcome)))
    except OSError as error:
        file = kept.file(folder, trial.id)
        raise BadInput(
            f"{file}: {error.strerror or error}: {remedy(file)}, and launch with --retry-failed"
        ) from None


def _encoded(stages: Stages, header: Mapping[str, str]) -> bytes:
    """The content of a file of weights; beside smaller weights are the masks of the whole ones."""
    state = stages.model.state_dict()
    if stages.smaller:
        state |= {f"{name}_mask": mask for name, mask in stages.masks.items()}
    else:
        state = interop.state_dict(stages.model, stages.masks)
    return interop.encode(state, header)


def write_export(path: Path, kind: Export, stages: Stages, header: Mapping[str, str]) -> None:
    """Write the final network as a program that runs elsewhere, on a batch of any size.

    The program takes images as the data set stores them, values from 0 to 255, but in float32: it normalizes
    them itself. Other inputs it takes as the network does.

    Args:
        path: of the file. An existing file is replaced, atomically.
        header: the header of the file.

    Raises:
        BadInput: the network cannot be exported, or the file cannot be written.
    """
    write = _onnx if kind is Export.ONNX else _torch
    try:
        # Of the exporters' warnings none is about something that a person can change.
        with warnings.catch_warnings(action="ignore"):
            content = write(_program(stages), header)
    except Exception as error:  # torch's exporters raise many kinds
        why = (str(error).strip().partition("\n")[0] or type(error).__name__)[:200]
        raise BadInput(f"--export {kind}: {stages.config.model} cannot be exported: {why}") from error
    _write(path, content)


class _Complete(nn.Module):
    """A network with the normalization of its inputs."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module, data: Data) -> None:
        super().__init__()
        self.network = network
        self.normalizes = data.mean is not None
        self.register_buffer("mean", data.mean)
        self.register_buffer("deviation", data.deviation)

    def forward(self, inputs: Tensor) -> Tensor:
        """The outputs of the network for inputs that are not normalized."""
        normalized = (inputs - self.mean) / self.deviation if self.normalizes else inputs
        outputs: Tensor = self.network(normalized)
        return outputs


def _program(stages: Stages) -> ExportedProgram:
    """The final network as a graph, on the CPU."""
    config, data = stages.config, stages.data
    form = data.form
    # Built anew: the trial's own network is watched by hooks, which are no part of the program.
    network = models.build(
        config.model, form.shape, data.classes, 0, dtype=form.dtype, arguments=config.arguments("model")
    )
    compensation.put(network, masking.added_biases(config, network, stages.exclude))
    if stages.smaller:
        pruners.apply_masks(network.to(data.device), stages.masks)
        network = stages.smaller_of(network).network
    network.load_state_dict(stages.model.state_dict())
    complete = _Complete(network, data).cpu().eval()
    # Two inputs: torch.export takes a batch of one as a batch that is always of one.
    example = torch.zeros(2, *form.shape, dtype=form.dtype)
    return torch.export.export(complete, (example,), dynamic_shapes=({0: Dim("batch")},))


def _torch(program: ExportedProgram, header: Mapping[str, str]) -> bytes:
    written = io.BytesIO()
    torch.export.save(program, written, extra_files=dict(header))
    return written.getvalue()


def _onnx(program: ExportedProgram, header: Mapping[str, str]) -> bytes:
    made = torch.onnx.export(
        program, (), input_names=["inputs"], output_names=["outputs"], dynamo=True, verbose=False
    )
    assert made
    made.model.metadata_props.update(header)
    content: bytes = made.model_proto.SerializeToString()
    return content


def _write(path: Path, content: bytes) -> None:
    try:
        put(path, lambda file: file.write(content))
    except OSError as error:
        raise BadInput(
            f"{path}: {error.strerror or error}: {remedy(path)}, or choose another --out"
        ) from None

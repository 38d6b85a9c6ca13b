"""A network tried on random inputs: its size, and the criteria, scopes and structures that work on it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

import pruners
from pruners.own import place
from sweep.check.report import Grid, Report
from sweep.check.running import check_parameters, digest, fault, listed, one_line, shape_text
from sweep.data import Shape
from sweep.errors import BadInput
from sweep.trial.run import one_thread

_USUAL_SHAPES: tuple[Shape, ...] = ((1, 28, 28), (3, 32, 32), (3, 64, 64))
_SAMPLES = 4
_SPARSITIES = (0.5, 0.9)
# Outputs of a sample alone and in a batch differ by the order of additions.
_RELATIVE, _ABSOLUTE = 1e-3, 1e-4


def check_model(
    build: Callable[..., Any],
    *,
    parameters: Mapping[str, Any] | None = None,
    shape: Sequence[int] | None = None,
    classes: int = 10,
    seed: int = 0,
) -> Report:
    """Try a network with random inputs and targets, on the CPU.

    Args:
        build: input shape, number of classes and keyword parameters → network.
        parameters: keyword parameters of `build`.
        shape: of one input; None: a few usual image shapes, at least one of which must fit.
        seed: of the network's weights and of the inputs.

    Raises:
        BadInput: `build` does not take these parameters.
    """
    given = dict(parameters or {})
    check_parameters(build, 2, given)
    report = Report(f"model {place(build)}")
    fitting: list[tuple[nn.Module, tuple[int, ...]]] = []
    with one_thread():
        for each in [tuple(shape)] if shape else _USUAL_SHAPES:
            try:
                model = built(build, each, classes, seed, **given)
                text = _described(model, each, classes, seed)
            except (Exception, SystemExit) as error:
                report.tell(
                    f"inputs of {shape_text(each)}", False if shape else None, fault(error, place(build))
                )
                continue
            report.tell(f"inputs of {shape_text(each)}", True, text)
            fitting.append((model, each))
        if not fitting:
            if not shape:
                report.tell("takes one of these inputs", False, "expected: give its own as --shape 3,32,32")
            return report
        model, each = fitting[0]
        again = built(build, each, classes, seed, **given)
        same = digest(model.state_dict().values()) == digest(again.state_dict().values())
        report.tell(
            "equal weights for equal seeds",
            same,
            "" if same else "expected equal bits: take random numbers from torch alone, or seed them",
        )
        try:
            _try_all(report, model, _batch(model, each, classes, seed))
        except Exception as error:
            report.tell("runs in train and eval mode", False, fault(error, place(build)))
    return report


def built(
    build: Callable[..., Any], shape: Sequence[int], classes: int, seed: int, **parameters: Any
) -> nn.Module:
    """The network of a seed. The state of torch's random numbers is not changed.

    Raises:
        BadInput: `build` gives something else, or a network with lazy layers.
        Exception: whatever `build` raises.
    """
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)
        model = build(tuple(shape), classes, **parameters)
    if not isinstance(model, nn.Module):
        raise BadInput(f"gives {type(model).__name__}, expected a torch.nn.Module")
    if lazy := [name for name, each in model.named_parameters() if is_lazy(each)]:
        raise BadInput(
            f"{lazy[0]} has no shape before the first forward pass, expected one: it depends on data"
        )
    return model


def model_digest(
    build: Callable[..., Any],
    *,
    parameters: Mapping[str, Any] | None = None,
    shape: Sequence[int] | None = None,
    classes: int = 10,
    seed: int = 0,
) -> str:
    """A digest of the network's weights and buffers, for a comparison with another process."""
    for each in [shape] if shape else _USUAL_SHAPES:
        try:
            model = built(build, each, classes, seed, **(parameters or {}))
        except (Exception, SystemExit):
            continue
        return digest(model.state_dict().values())
    return ""


def _batch(model: nn.Module, shape: Sequence[int], classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Random inputs, and random targets of the shape that the network's outputs ask for."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(_SAMPLES, *shape, generator=generator)
    places = _outputs(model, inputs).shape[2:]
    return inputs, torch.randint(classes, (_SAMPLES, *places), generator=generator)


def _outputs(model: nn.Module, inputs: Tensor) -> Tensor:
    """The outputs in eval mode."""
    model.eval()
    with torch.no_grad():
        outputs: Tensor = model(inputs)
    model.train()
    return outputs


def _described(model: nn.Module, shape: Sequence[int], classes: int, seed: int) -> str:
    """The size of a network, its output shape and its multiply-adds.

    Raises:
        ValueError: the outputs are not as they should be.
    """
    inputs = torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed))
    outputs = _outputs(model, inputs)
    if not isinstance(outputs, Tensor):
        raise BadInput(f"its output is {type(outputs).__name__}, expected one tensor")
    if outputs.shape[:2] != (2, classes):
        raise BadInput(
            f"its output for 2 inputs has shape {tuple(outputs.shape)}, expected (2, {classes}): "
            "one row for each input, one number for each class"
        )
    if not outputs.isfinite().all():
        raise BadInput("its outputs are NaN or infinite, expected finite numbers")
    total = sum(parameter.numel() for parameter in model.parameters())
    weights = sum(weight.numel() for weight in pruners.prunable(model).values())
    try:
        macs = f"{sum(pruners.multiply_adds(model, inputs).values()):,} multiply-adds"
    except ValueError as error:
        macs = f"multiply-adds not counted ({one_line(str(error))})"
    return (
        f"{total:,} parameters, {weights:,} prunable weights, output {shape_text(outputs.shape[1:])}, {macs}"
    )


def _try_all(report: Report, model: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    """Add the findings on one network."""
    _try_gradients(report, model, batch)
    inputs = batch[0]
    together = _outputs(model, inputs)
    alone = torch.cat([_outputs(model, each) for each in inputs.split(1)])
    apart = torch.allclose(together, alone, _RELATIVE, _ABSOLUTE)
    report.tell(
        "samples do not depend on their batch in eval mode",
        apart,
        "" if apart else f"outputs alone and in a batch differ by up to {(together - alone).abs().max():.3g}",
    )
    _try_scopes(report, model)
    _try_structures(report, model, inputs)
    rows = [(name, _attempt(partial(pruners.saliency, name, model, [batch]))) for name in pruners.names()]
    working = sum(not why for _, why in rows)
    report.tell("criteria that score it", working > 0, f"{working} of {len(rows)}")
    if working < len(rows):
        refused = tuple((name, why) for name, why in rows if why)
        report.grids.append(Grid(("criterion that does not", "why"), refused, right=False))


def _try_gradients(report: Report, model: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    """Does a gradient reach every parameter in train mode?"""
    inputs, targets = batch
    with torch.random.fork_rng(devices=()):
        F.cross_entropy(model(inputs), targets).backward()
    named = {name: each for name, each in model.named_parameters() if each.requires_grad}
    unused = [name for name, each in named.items() if each.grad is None]
    dead = [name for name, each in named.items() if each.grad is not None and not each.grad.any()]
    broken = [
        name for name, each in named.items() if each.grad is not None and not each.grad.isfinite().all()
    ]
    model.zero_grad()
    problems = [
        f"{what}: {listed(names)}"
        for what, names in (("not used", unused), ("gradient NaN or infinite", broken))
        if names
    ]
    report.tell("a gradient reaches every weight", not problems, "; ".join(problems))
    if dead:
        report.tell("weights whose gradient is 0", None, f"dead at the start: {listed(dead)}")


def _try_scopes(report: Report, model: nn.Module) -> None:
    """Are exact numbers of weights kept under each scope?"""
    total = sum(weight.numel() for weight in pruners.prunable(model).values())
    fitting, others, wrong = [], [], []
    for scope in pruners.SCOPES:
        for sparsity in _SPARSITIES:
            try:
                masks = pruners.prune("magnitude", model, sparsity=sparsity, scope=scope)
            except ValueError as error:
                others.append(f"not {scope} at {sparsity}: {one_line(str(error))}")
                continue
            fitting.append(scope)
            if sum(int(mask.sum()) for mask in masks.values()) != pruners.kept_count(total, sparsity):
                wrong.append(f"{scope} at {sparsity}")
    report.tell(
        "exact counts under each scope",
        not wrong,
        "; ".join(
            [f"not exact: {', '.join(wrong)}"] if wrong else [", ".join(dict.fromkeys(fitting)), *others]
        ),
    )


def _try_structures(report: Report, model: nn.Module, inputs: Tensor) -> None:
    """Which structures can be removed, and can effective masks be worked out?"""
    reasons = {
        name: _attempt(partial(pruners.find_units, name, model, inputs)) for name in pruners.STRUCTURES
    }
    fitting = ", ".join(name for name, why in reasons.items() if not why)
    report.tell(
        "structures",
        None,
        "; ".join([fitting, *(f"not {name}: {why}" for name, why in reasons.items() if why)]),
    )
    masks = pruners.prune("magnitude", model, sparsity=0.9)
    why = _attempt(lambda: pruners.effective_masks(model, masks, inputs))
    report.tell("effective masks", None, f"no: {why}" if why else "yes")


def _attempt(action: Callable[[], object]) -> str:
    """Why an action fails; empty: it does not."""
    try:
        action()
    except Exception as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        return one_line(f"{kind}{error}") or type(error).__name__
    return ""

"""A data set tried by itself: its splits, classes, numbers and repeated inputs, and a contact sheet."""

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pruners.own import place
from sweep.check.report import Grid, Report
from sweep.check.running import check_parameters, digest, fault, listed, shape_text
from sweep.check.sheet import channels_first, images, save_sheet
from sweep.data.given import pair
from sweep.data.tasks import guessed
from sweep.errors import BadInput

_Array = NDArray[Any]
# Inputs and targets.
Pair = tuple[_Array, _Array]
# Share of the test inputs that may be in the training split too; well-known data sets have a few.
_MOST_REPEATED = 0.01
# More distinct whole numbers than these are no classes.
_MOST_CLASSES = 10_000
_MOST_ROWS = 20
_FORM = "expected (train, test), each a pair (inputs, targets) of tensors or arrays"


def check_dataset(
    give: Callable[..., Any],
    *,
    parameters: Mapping[str, Any] | None = None,
    root: Path = Path("data"),
    task: str | None = None,
    sheet: Path | None = None,
) -> Report:
    """Load a data set twice and describe it.

    Args:
        give: keyword parameters, and the data root if it takes one → (train, test).
        parameters: keyword parameters of `give`.
        root: the folder of data sets.
        task: classification, regression, multi-label, segmentation or language; None: the targets tell.
        sheet: a PNG file for a picture of the first training images.

    Raises:
        BadInput: `give` does not take these parameters, or the PNG file cannot be written.
    """
    check_parameters(give, int(_takes_root(give)), parameters or {})
    report = Report(f"data set {place(give)}")
    start = time.perf_counter()
    try:
        splits = loaded(give, parameters or {}, root)
        report.tell("loads", True, f"{time.perf_counter() - start:.2g} s")
        same = _digest(splits) == _digest(loaded(give, parameters or {}, root))
    except (Exception, SystemExit) as error:
        report.tell("loads", False, fault(error, place(give)))
        return report
    report.tell(
        "equal data each time",
        same,
        "" if same else "expected equal bits: draw random numbers from a generator with a seed of its own",
    )
    inputs, targets = splits["train"]
    found = task or guessed(torch.as_tensor(targets), inputs.shape[1:])
    report.tell("task", None if found else False, str(found) if task else f"{found}, as the targets look")
    _try_inputs(report, splits)
    if found:
        _try_targets(report, splits, found)
    _try_repeats(report, splits)
    if sheet:
        pictures = images(splits["train"][0])
        report.tell(
            "contact sheet", None, str(sheet) if pictures is not None else "none: the inputs are no images"
        )
        if pictures is not None:
            save_sheet(sheet, pictures, splits["train"][1])
    return report


def dataset_digest(
    give: Callable[..., Any], *, parameters: Mapping[str, Any] | None = None, root: Path = Path("data")
) -> str:
    """A digest of both splits, for a comparison with another process."""
    return _digest(loaded(give, parameters or {}, root))


def loaded(give: Callable[..., Any], parameters: Mapping[str, Any], root: Path) -> dict[str, Pair]:
    """The splits `train` and `test`, as arrays.

    Raises:
        BadInput: `give` gives something else.
        Exception: whatever `give` raises.
    """
    parts = give(*([root] if _takes_root(give) else []), **parameters)
    if not isinstance(parts, tuple | list) or len(parts) != 2:
        raise BadInput(f"gives {_kind(parts)}, {_FORM}")
    return {name: _split(name, part) for name, part in zip(("train", "test"), parts, strict=True)}


def _takes_root(give: Callable[..., Any]) -> bool:
    """Whether the first parameter is the data root: it is positional and has no default."""
    positional = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    first = next(iter(signature(give).parameters.values()), None)
    return first is not None and first.kind in positional and first.default is first.empty


def _split(name: str, part: object) -> Pair:
    inputs, targets = (_array(name, each) for each in pair(name, part))
    if not len(inputs) or len(inputs) != len(targets):
        raise BadInput(
            f"gives {len(inputs)} inputs and {len(targets)} targets for {name}, expected as many, and some"
        )
    return inputs, targets


def _array(name: str, values: object) -> _Array:
    array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    if not array.ndim or array.dtype.kind not in "biuf":
        raise BadInput(f"gives {_kind(values)} with {array.dtype} for {name}, expected real numbers in rows")
    return array


def _kind(value: object) -> str:
    size = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    return f"{type(value).__name__}{size}"


def _digest(splits: Mapping[str, Pair]) -> str:
    return digest(each for split in splits.values() for each in split)


def _try_inputs(report: Report, splits: Mapping[str, Pair]) -> None:
    """Are the inputs of both splits of one kind and finite?"""
    train, test = (splits[name][0] for name in ("train", "test"))
    same = train.shape[1:] == test.shape[1:] and train.dtype == test.dtype
    text = f"{shape_text(train.shape[1:])}, {train.dtype}"
    other = f"{shape_text(test.shape[1:])}, {test.dtype}"
    report.tell("inputs of one shape", same, text if same else f"train {text}; test {other}")
    for name, (inputs, _) in splits.items():
        finite = np.isfinite(inputs)
        bad = inputs.size - int(finite.sum())
        span = f"{inputs[finite].min():g} to {inputs[finite].max():g}" if finite.any() else "nothing"
        report.tell(
            f"{name}: finite inputs",
            not bad,
            f"{bad:,} of {inputs.size:,} are NaN or infinite"
            if bad
            else f"{len(inputs):,} inputs, {span}, mean {inputs.mean(dtype=float):.4g}, "
            f"deviation {inputs.std(dtype=float):.4g}",
        )
    mean, deviation = _moments(train)
    if len(mean) > 1:
        pairs = [f"{m:.3g} ± {d:.3g}" for m, d in zip(mean, deviation, strict=True)]
        report.tell("mean ± deviation by channel", None, listed(pairs, 8))
    constant = np.flatnonzero(deviation == 0)
    if len(constant):
        report.tell("channels that never change", None, listed(list(map(str, constant)), 8))
    near = bool((abs(mean) < 0.5).all() and (abs(deviation - 1) < 0.5).all())
    report.tell("normalized", None, "yes: means near 0, deviations near 1" if near else "no")


def _moments(inputs: _Array) -> tuple[_Array, _Array]:
    """Mean and deviation of each channel of images, or else along the second axis: of each feature."""
    as_images = channels_first(inputs)
    inputs = inputs if as_images is None else as_images
    axes = tuple(axis for axis in range(inputs.ndim) if axis != 1)
    with np.errstate(all="ignore"):
        mean = np.atleast_1d(inputs.mean(axes, dtype=float))
        return mean, np.atleast_1d(inputs.std(axes, dtype=float))


def _try_targets(report: Report, splits: Mapping[str, Pair], task: str) -> None:
    """Are the targets such as the task has them? Adds the balance of classes."""
    train, test = (splits[name][1] for name in ("train", "test"))
    if task not in ("classification", "segmentation"):
        finite = bool(np.isfinite(train).all() and np.isfinite(test).all())
        same = train.shape[1:] == test.shape[1:]
        span = f"{train.min():g} to {train.max():g}, mean {train.mean(dtype=float):.4g}"
        text = f"{shape_text(train.shape[1:])}, {span}"
        report.tell("targets are finite, of one shape", finite and same, text)
        return
    counts = [dict(zip(*np.unique(each, return_counts=True), strict=True)) for each in (train, test)]
    labels = sorted(counts[0])
    whole = all(float(label).is_integer() and label >= 0 for label in {*labels, *counts[1]})
    known = set(counts[1]) <= set(labels)
    missing = [] if not whole else sorted(set(range(int(labels[-1]) + 1)) - set(labels))
    problems = {
        "labels are not whole numbers from 0": not whole,
        f"more than {_MOST_CLASSES} classes": len(labels) > _MOST_CLASSES,
        f"test has classes that train has not: {sorted(set(counts[1]) - set(labels))[:6]}": not known,
        f"no training sample of classes {missing[:6]}": bool(missing),
    }
    wrong = [problem for problem, holds in problems.items() if holds]
    report.tell("labels from 0, all in train", not wrong, "; ".join(wrong) or f"{len(labels)} classes")
    if len(labels) <= _MOST_ROWS:
        rows = tuple((str(label), *(_share(count, label) for count in counts)) for label in labels)
        report.grids.append(Grid(("class", "train", "test"), rows))
    else:
        sizes = sorted(counts[0].values())
        report.tell("sizes of classes in train", None, f"{sizes[0]:,} to {sizes[-1]:,}")


def _share(counts: Mapping[Any, int], label: Any) -> str:
    count, total = counts.get(label, 0), sum(counts.values())
    return f"{count:,} ({count / total:.1%})"


def _try_repeats(report: Report, splits: Mapping[str, Pair]) -> None:
    """How many test inputs are equal to a training input, bit by bit?"""
    train, test = (
        [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in splits[name][0]]
        for name in ("train", "test")
    )
    known = set(train)
    repeated, within = sum(each in known for each in test), len(train) - len(known)
    report.tell(
        "test inputs are new",
        repeated <= math.floor(_MOST_REPEATED * len(test)),
        f"{repeated:,} of {len(test):,} are in train too; {within:,} repetitions within train",
    )

"""Parts of one's own: criteria, rules, networks, data sets, losses, metrics, … from files and packages.

The decorators say what cannot be guessed of a part:

    from sweep.parts import dataset

    @dataset(task="regression")
    def houses(*, noise: float = 0.1):
        ...
        return (train_inputs, train_targets), (test_inputs, test_targets)

A study reads a part from its source: what it takes, what it says of itself, which code it is. The code runs
where a trial needs it, and before the launch of such trials.
"""

from sweep.parts.bad_part import BadPart
from sweep.parts.decorators import (
    augment,
    dataset,
    init,
    loss,
    lr_schedule,
    metric,
    model,
    optimizer,
    rule,
)
from sweep.parts.faults import explain, guilty, line, trace
from sweep.parts.part import (
    Missing,
    Part,
    bind,
    declare,
    entry,
    find,
    is_name,
    is_reference,
    label,
    made,
    need,
    register,
    values,
)
from sweep.parts.record import record, recorded
from sweep.parts.signature import Arguments, Parameter

__all__ = [
    "Arguments",
    "BadPart",
    "Missing",
    "Parameter",
    "Part",
    "augment",
    "bind",
    "dataset",
    "declare",
    "entry",
    "explain",
    "find",
    "guilty",
    "init",
    "is_name",
    "is_reference",
    "label",
    "line",
    "loss",
    "lr_schedule",
    "made",
    "metric",
    "model",
    "need",
    "optimizer",
    "record",
    "recorded",
    "register",
    "rule",
    "trace",
    "values",
]

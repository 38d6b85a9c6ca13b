"""The page of everything that a study names: criteria, rules, scopes, structures, models, data sets, …"""

import sys
from collections.abc import Iterable, Iterator

import pruners
from pages.markdown import code, codes, page, table
from pruners.saliency import CRITERIA
from pruners.scopes import PATTERNS, SCOPES
from sweep.data.augmentation import AUGMENTATIONS
from sweep.data.catalog import DATASETS, FOLDER
from sweep.data.tasks import TASKS
from sweep.data.texts import FOLDER as TEXT_FOLDER
from sweep.models.catalog import MODELS, TORCHVISION
from sweep.models.initialization import INITIALIZATIONS
from sweep.models.losses import LOSSES
from sweep.models.metrics import METRICS
from sweep.models.optimizers import LR_SCHEDULES, OPTIMIZERS
from sweep.rules import RULES
from sweep.rules.moments import MOMENTS
from sweep.study.recipes import RECIPES


def parts() -> str:
    """The page."""
    return page(
        "Parts that a study names",
        "A study names each of these by its field. [Bring your own](../own-parts.md) adds to them.",
        "## Criteria",
        "Field `criterion`. A criterion scores the weights, once or in iterations; the lowest scores go. "
        "[Criteria](../criteria.md) has what they need and where they differ from published code.",
        table(
            ("criterion", "score, higher is kept", "iterations", "source"),
            ((code(c.name), c.equation, str(c.iterations), c.source) for c in CRITERIA.values()),
        ),
        "## Rules",
        "Field `criterion` too. A rule prunes in its own way, at several moments or along training. "
        "[Pruning](../pruning.md#rules) explains each.",
        table(("rule", "what it is, and its source", "options"), _rules()),
        "## Scopes",
        "Field `scope`: how the kept weights are spread over the layers.",
        table(("scope", "kept weights"), _scopes()),
        "## Structures",
        "Field `structure`: what is removed as a whole.",
        table(("structure", "removes", "scopes", "`unit_score`"), _structures()),
        "## Schedules",
        f"Field `schedule`, how the density falls over iterations: {codes(pruners.SCHEDULES)}.",
        "## Moments",
        "Field `prune_when`: an indicator that says after which epoch to prune.",
        table(("moment", "what it watches"), _said(MOMENTS.items())),
        "## Models",
        "Field `model`. Sides of images are in pixels.",
        table(("model", "inputs", "smallest side"), _models()),
        "## Data sets",
        f"Field `dataset`; besides `{FOLDER}NAME` for folders of images, and `{TEXT_FOLDER}NAME` for a text.",
        table(("data set", "shape of an input", "classes or outputs"), _datasets()),
        "## Other parts",
        table(("field", "names"), _others()),
    )


def _line(text: str | None) -> str:
    """The first sentence of a docstring, or the title of one, without its full stop."""
    return " ".join((text or "").split("\n\n")[0].split()).removesuffix(".")


def _said(rows: Iterable[tuple[str, object]]) -> Iterator[tuple[str, str]]:
    for name, one in rows:
        yield code(name), _line(one.__doc__)


def _rules() -> Iterator[tuple[str, ...]]:
    for name, rule in RULES.items():
        said = _line(sys.modules[type(rule).__module__].__doc__).removeprefix(f"`{name}`: ")
        options = getattr(rule.options, "__dataclass_fields__", {})
        yield code(name), said, codes(f"criterion.{option}" for option in options)


def _scopes() -> Iterator[tuple[str, str]]:
    yield from _said(SCOPES.items())
    for name, pattern in PATTERNS.items():
        yield code(name), f"{_line(type(pattern).__doc__)}"


def _structures() -> Iterator[tuple[str, ...]]:
    for one in pruners.STRUCTURES.values():
        scores = codes(one.unit_scores) if one.find else ""
        yield code(one.name), one.removed, codes(one.scopes) or "all", scores or "none"


def _models() -> Iterator[tuple[str, ...]]:
    for name, one in MODELS.items():
        yield code(name), one.inputs, str(one.smallest) if one.inputs == "images" else ""
    yield code(f"{TORCHVISION}NAME"), "as torchvision says", ""


def _datasets() -> Iterator[tuple[str, ...]]:
    for name, one in DATASETS.items():
        shape = "×".join(map(str, one.shape)) if one.shape else ""
        yield code(name), shape, str(one.classes or "")


def _others() -> Iterator[tuple[str, str]]:
    yield "`augment`", codes(AUGMENTATIONS)
    yield "`init`", codes(INITIALIZATIONS)
    yield "`loss`", codes(LOSSES)
    yield "`optimizer`", codes(OPTIMIZERS)
    yield "`lr_schedule`", codes(LR_SCHEDULES)
    yield "`metrics`", codes(METRICS)
    yield "`recipe`", codes(RECIPES)
    yield "tasks, which data sets declare", codes(TASKS)

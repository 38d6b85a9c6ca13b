"""A study: the YAML file that a researcher writes, validated, and its trials."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import AfterValidator, Field

from sweep import shipped
from sweep.errors import BadInput
from sweep.names import one_of
from sweep.parts import Part
from sweep.store.kept import Keep
from sweep.study import axes, paper, space_reader, variation
from sweep.study.axes import MOST_TRIALS
from sweep.study.consistency import UNCHECKED
from sweep.study.document import Document, origin_of, quoted
from sweep.study.fields import RECIPE, Named, Values, values
from sweep.study.identity import Trial
from sweep.study.library import Library
from sweep.study.paper import Paper
from sweep.study.recipe_files import RecipeFiles
from sweep.study.space import Search

if TYPE_CHECKING:  # its planners import SciPy, and a study without a question needs none of it
    from sweep.study.question import Question

# The price of one GPU for an hour, for estimates of what a study costs.
_PRICE = "price_per_gpu_hour"
_PRICES = Values(Annotated[float, Field(ge=0, allow_inf_nan=False)])
# The metrics of every trial's final network: one list, no axis.
_METRICS = "metrics"
_METRIC_NAMES = Named(Annotated[str, one_of("metric", "sweep.models.metrics:METRICS", own=True)], _METRICS)
_DESCRIPTION = Values(str)
_KEEP = Values(Keep)


def _word(text: str) -> str:
    if not re.fullmatch(r"\S{1,100}", text) or not text.isprintable():
        raise ValueError("a tag is one word of up to 100 letters")
    return text


_TAGS = Values(Annotated[str, AfterValidator(_word)])
# The keys of a study beside its fields.
_BESIDE = ("name", "description", "tags", "paper", "blocks", "search", "question", "keep", _PRICE, _METRICS)
# The study file that is standard input.
STANDARD_INPUT = Path("-")
# Added to the name of a search, it is the name of the study of the search's best schedules.
BEST = "-best"
# File systems allow names of 255 bytes, and the engine makes files such as `.NAME-best.needs.1234abcd`.
_MOST_NAME_BYTES = 230


@dataclass(frozen=True)
class Study:
    """A validated study file.

    Attributes:
        name: of the study, and of its folder of results.
        path: of the file.
        text: of the file; of a variation, or with recipes of one's own, that of the flat study that it
            stands for.
        distinct: each trial once, in the order of the file.
        count: how many combinations of values the file has; some may be the same trial.
        parts: of one's own that it names: name in configs → part.
        price_per_gpu_hour: of one GPU, in any currency.
        search: what to search for; None: the study runs all its trials.
        metrics: names of the metrics that each trial's final network is measured by.
        weights: files of trained weights that it names: name in configs → file.
        keep: what it keeps of each trial's final network; None: nothing.
        description: in the researcher's words.
        tags: words by which the study is found.
        question: what the study asks, which chooses its trials; None: it runs all its trials.
        paper: what it reproduces; None: no paper's numbers stand beside it.
    """

    name: str
    path: Path
    text: str
    distinct: tuple[Trial, ...]
    count: int
    parts: Mapping[str, Part] = field(default_factory=dict)
    price_per_gpu_hour: float | None = None
    search: Search | None = None
    metrics: tuple[str, ...] = ()
    weights: Mapping[str, Path] = field(default_factory=dict)
    keep: Keep | None = None
    description: str = ""
    tags: tuple[str, ...] = ()
    question: "Question | None" = None
    paper: Paper | None = None

    @property
    def about(self) -> Mapping[str, Any]:
        """What study.json says of the study beside its text."""
        said: dict[str, Any] = {"description": self.description, "tags": [*self.tags]}
        return said | ({"question": self.question.asked.written()} if self.question else {})

    def trials(self) -> list[Trial]:
        """Each trial once, in the order of the file."""
        return list(self.distinct)

    def __len__(self) -> int:
        return len(self.distinct)

    def __repr__(self) -> str:
        chooses = "a search" if self.search else "a question" if self.question else ""
        holds = chooses or ("1 trial" if len(self) == 1 else f"{len(self):,} trials")
        return f"<study {self.name}: {holds}>"


_Nodes = Mapping[str, yaml.Node]


def load(
    path: str | Path,
    recorded: Callable[[str], Iterable[Part]] | None = None,
    settings: Sequence[str] = (),
) -> Study:
    """Read and validate a study file. The code of parts that it names is read, and not run.

    Args:
        path: of the file; `-`: standard input; the name of a study that comes along.
        recorded: gives the parts that earlier launches of a study recorded, by its name: they stand in for
            code that is not here. None: such code is an error.
        settings: values that replace those of the file: `FIELD=VALUES`, or `FIELD+=VALUES`, which adds.

    Raises:
        BadInput: one line with the file and the line number, or the setting, and what to correct.
    """
    path = Path(path)
    if path == STANDARD_INPUT:
        document = Document.of_standard_input()
    else:
        path = shipped.found(path)
        document = Document.of_file(path)
    return read(document, path, recorded, settings)


def read(
    document: Document,
    path: Path,
    recorded: Callable[[str], Iterable[Part]] | None = None,
    settings: Sequence[str] = (),
) -> Study:
    """Read and validate a study. Without a name it has that of the path, which need not exist.

    The other arguments and errors are those of `load`.
    """
    flat, varied = variation.read(document, path, settings)
    nodes = {key: node for key, node in flat.items() if key not in _BESIDE}
    name = _name(document, path, flat.get("name"))
    library, recipes = Library(lambda: recorded(name) if recorded else ()), RecipeFiles()

    def resolve(field: str, reference: str, folder: Path) -> Any:
        if field == RECIPE:
            return recipes.recipe(reference, folder, resolve)
        return library.name(field, reference, folder)

    document.resolve = resolve
    beside = _beside(document, flat)
    parsed: Search | None = None
    trials: tuple[Trial, ...] = ()
    asked: Question | None = None
    count = 0
    if "question" in flat:
        asked = _question(document, flat, _blocks(document, nodes, flat.get("blocks")))
    elif "search" not in flat:
        trials, count = _trials(document, nodes, flat.get("blocks"))
    elif "blocks" in flat:
        raise document.error(origin_of(flat["blocks"]), "blocks: a search has none, its space says it all")
    else:
        given = axes.single(document, nodes, "one value beside a search; put several in its space")
        parsed = space_reader.read(document, flat["search"], given)
    return Study(
        name,
        path,
        variation.text(flat, recipes.used) if varied or recipes.used else document.text,
        trials,
        count,
        parts=library.parts,
        search=parsed,
        weights=library.weights,
        question=asked,
        **beside,
    )


def _question(document: Document, flat: _Nodes, blocks: list[tuple[dict[str, yaml.Node], str]]) -> "Question":
    """The question of a study, about the arms of its blocks."""
    from sweep.study import question_reader

    if "search" in flat:
        raise document.error(
            origin_of(flat["search"]), "search: a study asks a question or searches, not both"
        )
    return question_reader.read(document, flat["question"], blocks)


def _trials(document: Document, nodes: _Nodes, list_node: yaml.Node | None) -> tuple[tuple[Trial, ...], int]:
    """Each trial of a study once, and how many combinations of values the study has.

    Args:
        nodes: of the fields that all blocks share.
        list_node: the list of blocks.
    """
    blocks = _blocks(document, nodes, list_node)
    read = [(axes.read(document, block), origin) for block, origin in blocks]
    # A mistake is reported before any trial is made, as a study may have a million trials.
    for each, origin in read:
        shortened = {name: items[:1] if name in UNCHECKED else items for name, items in each.items()}
        for _ in axes.configs(document, shortened, origin):
            pass
    count = 0
    distinct: dict[Trial, None] = {}
    for each, origin in read:
        for config in axes.configs(document, each, origin):
            count += 1
            distinct[Trial.of(config)] = None
    return tuple(distinct), count


def _blocks(
    document: Document, nodes: _Nodes, list_node: yaml.Node | None
) -> list[tuple[dict[str, yaml.Node], str]]:
    """The fields of each block, those that all blocks share among them, and its origin."""
    own = variation.blocks(document, list_node)
    blocks = [(dict(nodes) | own, origin_of(node)) for own, node in own] or [(dict(nodes), document.at())]
    _check_count(document, blocks)
    return blocks


def _check_count(document: Document, blocks: list[tuple[dict[str, yaml.Node], str]]) -> None:
    """Check that all blocks together have no more combinations of values than a study may have trials."""
    count = 0
    for block, origin in blocks:
        count += math.prod(document.count(name, node, values(name)) for name, node in block.items())
        if count > MOST_TRIALS:
            raise document.error(origin, f"this asks for more than {MOST_TRIALS:,} trials: split the study")


def _name(document: Document, path: Path, node: yaml.Node | None) -> str:
    """The name of the study, by default that of its file; it becomes the name of a folder."""
    if node is None and path == STANDARD_INPUT:
        raise document.error(document.at(), "name is missing: a study from standard input needs one")
    name, origin = (path.stem, document.at()) if node is None else (node.value, origin_of(node))
    if node is not None and not isinstance(node, yaml.ScalarNode):
        raise document.error(origin, "name: one name belongs here")
    stem = name.removesuffix(BEST)
    if not re.fullmatch(r"\w[\w.-]{0,99}", stem) or len(stem.encode()) > _MOST_NAME_BYTES:
        raise document.error(
            origin,
            f"name {quoted(name)!r}: give it a name of up to 100 letters, digits, '-', '_' and '.', "
            f"and of up to {_MOST_NAME_BYTES} bytes",
        )
    return name


def _beside(document: Document, nodes: _Nodes) -> dict[str, Any]:
    """The attributes of a study that stand beside its fields, as far as the study gives them."""
    beside: dict[str, Any] = {}
    if _PRICE in nodes:
        try:
            beside[_PRICE] = document.value(_PRICE, nodes[_PRICE], _PRICES)
        except BadInput as error:
            raise BadInput(f"{error}: a price, such as 2.5") from None
    for name, takes in (("description", _DESCRIPTION), ("keep", _KEEP)):
        if name in nodes:
            beside[name] = document.value(name, nodes[name], takes)
    if "paper" in nodes:
        beside["paper"] = paper.read(document, nodes["paper"])
    for name, takes in ((_METRICS, _METRIC_NAMES), ("tags", _TAGS)):
        if name in nodes:  # each once, in the order of the file
            beside[name] = tuple(dict.fromkeys(document.values(name, nodes[name], takes)))
    return beside

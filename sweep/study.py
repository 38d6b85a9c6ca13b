"""A study: the YAML file a researcher writes, validated, and the trials it asks for."""

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

import pruners
from sweep import data, models
from sweep.errors import BadInput

# Part of every trial's identity: raise it when the same config would give other numbers.
PROTOCOL = 1
DENSE = "dense"


def _one_of(kind: str, known: list[str], prefix: str = "") -> AfterValidator:
    """Accept a name out of a list, or one with the prefix; the error gives the nearest name."""

    def check(name: str) -> str:
        if name in known or (prefix and name.startswith(prefix) and name != prefix):
            return name
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        listed = ", ".join([*known, f"{prefix}NAME"] if prefix else known)
        raise ValueError(f"no such {kind}; " + (f"did you mean {near[0]}?" if near else f"known: {listed}"))

    return AfterValidator(check)


Count = Annotated[int, Field(ge=1, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]  # results hold it as a 64-bit integer


class Config(BaseModel):
    """Everything that decides the outcome of one trial. A study file may give each field a value or a list.

    Defaults are the same for everybody, so that equal questions have equal ids.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Annotated[str, _one_of("dataset", list(data.DATASETS), data.FOLDER)]
    model: Annotated[str, _one_of("model", list(models.MODELS))]
    # pruning
    criterion: Annotated[str, _one_of("criterion", [*pruners.names(), DENSE])]
    sparsity: float = Field(ge=0, lt=1)
    scope: Annotated[str, _one_of("scope", list(pruners.SCOPES))] = "global"
    iterations: Count = 1
    schedule: Annotated[str, _one_of("schedule", list(pruners.SCHEDULES))] = "exponential"
    prune_epoch: Annotated[int, Field(ge=0)] = 0
    score_batches: Count = 1
    score_batch_size: Count = 128
    # training
    epochs: Count
    batch_size: Count = 128
    lr: float = Field(0.1, gt=0, allow_inf_nan=False)
    lr_schedule: Literal["constant", "cosine"] = "cosine"
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(5e-4, ge=0, allow_inf_nan=False)
    # randomness
    seed: Seed = 0
    split_seed: Seed = 0
    validation_fraction: float = Field(0.1, gt=0, lt=1)


@cache
def _validator(field: str) -> TypeAdapter[Any]:
    """Checks a value of one field on its own, so that an error can be told with its line."""
    info = Config.model_fields[field]
    return TypeAdapter(Annotated[info.annotation, info])  # type: ignore[arg-type]


# Fields that only say how to choose a mask, and those that only say what data scores it.
_PRUNING = ("scope", "iterations", "schedule", "prune_epoch", "score_batches", "score_batch_size")
_SCORING = ("score_batches", "score_batch_size")


@dataclass(frozen=True)
class Trial:
    """One prune-then-train run: a config, and the name that follows from it."""

    config: Config

    @cached_property
    def id(self) -> str:
        """16 hex digits of the SHA-256 of the canonical config; the same question has the same id."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()[:16]

    @cached_property
    def canonical(self) -> str:
        """The config as JSON: sorted keys, defaults filled in, whole numbers as integers, the protocol."""
        fields = {**self.config.model_dump(), "protocol": PROTOCOL}
        whole = {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in fields.items()}
        return json.dumps(whole, sort_keys=True, separators=(",", ":"))

    @staticmethod
    def of(config: Config) -> "Trial":
        """The trial of a config, after setting what cannot matter to its default.

        Sparsity 0 is one dense run, whatever the criterion; criteria that look at no data do not care which.
        """
        defaults = {name: field.default for name, field in Config.model_fields.items()}
        moot: dict[str, Any] = {}
        if config.sparsity == 0 or config.criterion == DENSE:
            moot = {"criterion": DENSE, "sparsity": 0.0} | {name: defaults[name] for name in _PRUNING}
        else:
            if not pruners.find(config.criterion).needs_data:
                moot |= {name: defaults[name] for name in _SCORING}
            if config.iterations == 1:
                moot |= {"schedule": defaults["schedule"]}
        return Trial(config.model_copy(update=moot))


@dataclass(frozen=True)
class Study:
    """A validated study file."""

    name: str
    path: Path
    text: str
    configs: tuple[Config, ...]

    def trials(self) -> list[Trial]:
        """The distinct trials, in the order of the file."""
        return list({trial.id: trial for trial in map(Trial.of, self.configs)}.values())


class _Item(NamedTuple):
    """A value of the file and the line it stands in."""

    value: Any
    line: int


Axes = dict[str, list[_Item]]


def load(path: str | Path) -> Study:
    """Read and validate a study file.

    Raises:
        BadInput: one line with the file, the line number and what to put right.
    """
    path = Path(path)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise BadInput(f"{path}: {reason}: name a study file, such as studies/quickstart.yaml") from None
    return _Reader(path).read(text)


class _Reader:
    """Turns YAML into configs, and whatever is wrong into one line with its place."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, text: str) -> Study:
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            raise self.wrong(
                mark.line + 1 if mark else 1, f"not YAML: {getattr(error, 'problem', None) or error}"
            ) from None
        except RecursionError:
            raise self.wrong(1, "not a study: nested too deeply") from None
        if root is None:
            raise self.wrong(1, "the file is empty; see docs/studies.md for what a study looks like")
        fields = self.mapping(root, "a study")
        name = fields.pop("name", None)
        blocks = fields.pop("blocks", None)
        shared = self.axes(fields)
        every = [
            ({**shared, **self.axes(self.mapping(node, "a block"))}, node.start_mark.line + 1)
            for node in self.sequence(blocks)
        ]
        configs = tuple(
            config for axes, line in every or [(shared, 1)] for config in self.product(axes, line)
        )
        return Study(self.name(name), self.path, text, configs)

    def wrong(self, line: int, message: str) -> BadInput:
        return BadInput(f"{self.path}:{line}: {message}")

    def mapping(self, node: yaml.Node, what: str) -> dict[str, yaml.Node]:
        line = node.start_mark.line + 1
        if not isinstance(node, yaml.MappingNode):
            raise self.wrong(line, f"{what} is a mapping of fields to values, as in 'sparsity: [0.9, 0.99]'")
        fields: dict[str, yaml.Node] = {}
        for key, value in node.value:
            at = key.start_mark.line + 1
            known = [*Config.model_fields, *(("name", "blocks") if what == "a study" else ())]
            word = str(getattr(key, "value", ""))
            if word not in known:
                near = get_close_matches(word, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
                raise self.wrong(at, f"unknown key {word!r} in {what}; {hint}")
            if word in fields:
                raise self.wrong(at, f"{word} is given twice")
            fields[word] = value
        return fields

    def sequence(self, node: yaml.Node | None) -> list[yaml.Node]:
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            raise self.wrong(node.start_mark.line + 1, "blocks is a list of mappings, each with its own axes")
        return list(node.value)

    def name(self, node: yaml.Node | None) -> str:
        """The study's name, by default that of its file; it becomes a folder."""
        value = self.path.stem if node is None else str(node.value)
        if not re.fullmatch(r"\w[\w.-]{0,99}", value):
            line = 1 if node is None else node.start_mark.line + 1
            raise self.wrong(
                line, f"name {value[:40]!r}: give it a name of up to 100 letters, digits, '-', '_' and '.'"
            )
        return value

    def axes(self, fields: Mapping[str, yaml.Node]) -> Axes:
        return {name: list(self.axis(name, node)) for name, node in fields.items()}

    def axis(self, name: str, node: yaml.Node) -> Iterator[_Item]:
        if isinstance(node, yaml.SequenceNode) and not node.value:
            raise self.wrong(node.start_mark.line + 1, f"{name}: an empty list asks for no trials")
        for item in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            line = item.start_mark.line + 1
            if not isinstance(item, yaml.ScalarNode):
                raise self.wrong(line, f"{name}: a value or a list of values, nothing nested")
            try:
                value = yaml.SafeLoader("").construct_object(item)
            except (yaml.YAMLError, ValueError):
                raise self.wrong(line, f"{name} {item.value}: cannot be read as a value") from None
            yield _Item(self.checked(name, value, item.value, line), line)

    def checked(self, name: str, value: object, written: str, line: int) -> object:
        field = Config.model_fields[name]
        if isinstance(value, bool) != (field.annotation is bool):
            belongs = (
                "true or false belongs here" if field.annotation is bool else "no place for true or false"
            )
            raise self.wrong(line, f"{name} {written}: {belongs}")
        if field.annotation is int and isinstance(value, str):
            raise self.wrong(line, f"{name} {written}: text, where a whole number belongs")
        try:
            return _validator(name).validate_python(value)
        except ValidationError as error:
            message = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise self.wrong(line, f"{name} {written}: {message[0].lower()}{message[1:]}") from None

    def product(self, axes: Axes, line: int) -> Iterator[Config]:
        required = [name for name, field in Config.model_fields.items() if field.is_required()]
        for name in required:
            if name not in axes and not (name == "criterion" and self.all_dense(axes)):
                raise self.wrong(line, f"{name} is missing: give it a value or a list of values")
        for values in itertools.product(*axes.values()):
            items = dict(zip(axes, values, strict=True))
            config = Config(**{"criterion": DENSE} | {name: item.value for name, item in items.items()})
            yield self.consistent(config, items)

    @staticmethod
    def all_dense(axes: Axes) -> bool:
        return all(item.value == 0 for item in axes.get("sparsity", [_Item(1, 0)]))

    def consistent(self, config: Config, items: Mapping[str, _Item]) -> Config:
        """The config if its fields go together, with the criterion's own number of iterations."""
        shape = data.SHAPES.get(config.dataset)
        if shape:
            try:
                models.check(config.model, shape)
            except BadInput as error:
                raise self.wrong(items["model"].line, str(error)) from None
        if config.prune_epoch > config.epochs:
            raise self.wrong(
                items["prune_epoch"].line,
                f"prune_epoch {config.prune_epoch} is beyond the {config.epochs} epochs of training",
            )
        if config.nesterov and not config.momentum:
            raise self.wrong(items["nesterov"].line, "nesterov needs a momentum above 0")
        if config.criterion == DENSE:
            if config.sparsity:
                raise self.wrong(
                    items["criterion"].line, "criterion dense prunes nothing: give it sparsity 0"
                )
            return config
        default = pruners.find(config.criterion).iterations
        if "iterations" not in items:
            return config.model_copy(update={"iterations": default})
        if default == 1 and config.iterations > 1:
            iterative = ", ".join(name for name in pruners.names() if pruners.find(name).iterations > 1)
            raise self.wrong(
                items["iterations"].line,
                f"iterations {config.iterations}: {config.criterion} is one-shot; "
                f"put iterations in a block with one of {iterative}",
            )
        return config

"""Mutants of the study files: each is a study, or is refused in one line, in little time and memory."""

import random
import re
import resource
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import optuna
import yaml
from optuna.samplers import RandomSampler

from sweep.config import FIELDS
from sweep.errors import BadInput
from sweep.study import Study, load
from sweep.study.changes import changes
from sweep.study.space import Search

optuna.logging.set_verbosity(optuna.logging.WARNING)

_VARIATIONS = (
    b"extends: base.yaml\nx-a: &a {lr: 0.1}\n<<: *a\nsparsity+: [0.99]\nseed+: 5..7\nrecipe: recipes.yaml:longer\n",
    b"extends: base.yaml\nblocks+:\n  - {criterion: snip, scope: erk, sparsity: 0.5}\ndescription: more\ntags+: [b]\n",
    b"extends: search.yaml\ncriterion+: force\nsparsity: 0.9\nsearch:\n  space:\n    lr: {low: 0.1, high: 1}\n",
)
SOURCES = (*(path.read_bytes() for path in sorted(Path("studies").glob("*.yaml"))), *_VARIATIONS)
# There are few searches among them, and much to a search.
_WEIGHTS = [6 if b"search:" in content else 1 for content in SOURCES]
# What a refusal may take: seconds of CPU, bytes.
SECONDS, BYTES = 2.0, 300_000_000
# And what each trial may that a study asks for, if it is one.
SECONDS_EACH, BYTES_EACH = 60e-6, 1000
# A mutant that has not ended by then hangs.
HANGS = 90.0

KEYS = (*FIELDS, "recipe", "name", "blocks", "search", "question", "crossover", "best", "difference", "correlation", "first", "second", "within", "between", "at", "among", "price_per_gpu_hour", "space", "trials", "seeds", "low",
        "high", "step", "log", "when", "values", "sampler", "objectives", "stop", "stop_after", "no_collapse",
        "min_accuracy", "<<", "=", "?", "metrics", "keep", "extends", "description", "tags",
        "seed+", "sparsity+", "blocks+", "tags+", "x-helper", "name+", "criterion.power+", "criterion.temperature", "model.width", "seed.x", "loss.", ".x")  # fmt: skip
# Files beside each mutant, which it may extend or take recipes from.
BESIDE = {
    "base.yaml": "name: base\ndataset: digits\nmodel: conv-5\nepochs: 2\nseed: 0..2\ntags: [a]\nblocks:\n"
    "  - {criterion: [snip, random], sparsity: 0.9}\n  - {criterion: force, sparsity: [0.5, 0.9], iterations: 10}\n",
    "search.yaml": "dataset: digits\nmodel: conv-5\nepochs: 4\nsearch:\n  trials: 5\n  space:\n"
    "    criterion: [snip, random]\n    sparsity: [0.5, 0.9]\n    prune_epoch: {low: 0, high: 3}\n",
    "recipes.yaml": "longer: {epochs: 9, lr: 0.1}\nbad: {lr: x}\n",
}
SETTINGS = ("epochs=3", "seed=0..4", "seed+=7", "sparsity=[0.5, 0.99]", "criterion=snip", "name=other", "lr={low: 0.1, high: 1}",
            "search={trials: 3}", "blocks=[{seed: 1}]", "tags+=[b]", "=", "x", "epochs=", "recipe=recipes.yaml:longer", "steps=30")  # fmt: skip
LAUGHS = "[&a0 [x, x], " + ", ".join(f"&a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)) + "]"
PIECES = (
    *("", "null", "~", "true", "n", "-1", "0", "1", "3", "0.5", "1e-3", "1e309", ".nan", "-.inf", "010", "0x1F"),
    *("1:30", "1:30.5", "0b11", "08", "0o7", "1_000", "9" * 400, "9" * 5000, "0x" + "f" * 5000, "2001-01-01"),
    *("2001-13-45", "0..4", "0..36999", "0..99999", "5..1", "0..9999999999", "9" * 5000 + "..1", "00..07"),
    *("[]", "{}", "[[1]]", "{a: b}", "? [a]", "&r [*r]", "&r {*r : *r}", "*none", "&s 1", "*s", LAUGHS, "[0, 1, 2]"),
    *("!!bool x", "!!int ''", "!!int x", "!!float x", "!!timestamp x", "!!null x", "!!binary x", "!!str 1", "!!set x"),
    *("!!python/object/apply:os.system [ls]", "!x 1", "!!omap [a: 1]", "!<tag:yaml.org,2002:seq> x", "!!int [1]"),
    *('"\\e[2J"', '"\\UFFFFFFFF"', '"\\uD800"', '"\\0"', '"a\\nb"', "'", '"', "|", ">-\n  folded", "é", "磁" * 100),
    *("x" * 5000, "\t", "\x00", "\x1b]0;x\x07", "\ufeff", "%YAML 9.9", "%YAML 1." + "9" * 5000, "---", "...", "#", "- a"),
    *("snip", "imp", "oracle", "gmp", "dense", "random", "[snip, force]", "global", "filter", "image-folder:..", "quick"),
    *("tests/test_doors.py:own", "conftest.py:", ":x", "os:system", "torch.nn.functional:nll_loss", "a.py:b@c", "x@y"),
    *("../../../etc/hostname.py:x", "sweep.launch:main", "[nowhere.py:f, snip]", "pruners.saliency:snip", "no.mod:f"),
    *("torchvision:resnet18", "torchvision:__class__", "digits", "mnist", "conv-5", "0.5 0.75", "* !fc.*", "seed"),
    *("{low: 0, high: 1}", "{low: 0.5, high: 0.9, step: 0.05}", "{low: 1, high: 60, log: true}", "{low: 1, high: 0}"),
    *("{low: 5, high: 60, step: 2.5, when: {criterion: force}}", "{values: [1, 2], when: {criterion: [snip]}}"),
    *("{space: {sparsity: [0.9], criterion: [snip]}, trials: 5}", "{space: {lr: {low: 0.1, high: 1, log: n}}}"),
    *("base.yaml", "search.yaml", "study.yaml", "./nowhere.yaml", "/", "/dev/null", "x" * 300 + "/y.yaml", "recipes.yaml"),
    *("recipes.yaml:longer", "recipes.yaml:bad", "recipes.yaml:", "base.yaml:name", "[quick, recipes.yaml:longer]"),
    *("&m {<<: *m, lr: 0.1}", "&m {lr: 0.1}", "{<<: [{lr: 0.1}, {lr: 1}]}", "{<<: {epochs: 3}}", "{<<: [[x]]}", "*m"),
    *("[" * 3000, "{a: " * 3000, "- " * 3000, "[" + ", ".join(["0..99999"] * 60) + "]", "[" + "x, " * 20_000 + "]"),
)  # fmt: skip


def mutants(seed: int, count: int) -> Iterator[bytes]:
    """So many, each of up to four mutations of a study file: most of its structure, some of its bytes."""
    chance = random.Random(seed)
    for _ in range(count):
        [content] = chance.choices(SOURCES, _WEIGHTS)
        for _ in range(chance.choice((1, 1, 2, 3, 4))):
            content = chance.choices((_of_nodes, _of_lines, _of_bytes), (5, 3, 2))[0](content, chance)
        yield content


def _of_nodes(content: bytes, chance: random.Random) -> bytes:
    """Something in the place of a key or a value, or beside it."""
    text = content.decode(errors="replace")
    nodes = _nodes(text)
    if not nodes:
        return _of_lines(content, chance)
    start, end = chance.choice(nodes)
    match chance.randrange(6):
        case 0 | 1:
            new = chance.choice(PIECES)
        case 2:
            new = chance.choice(KEYS)
        case 3:  # another node of this or another study
            other = chance.choice((content, *SOURCES)).decode(errors="replace")
            new = other[slice(*chance.choice(_nodes(other) or [(0, 5)]))]
        case 4:
            new = f"[{text[start:end]}, {chance.choice(PIECES)}]"
        case _:
            new = (
                chance.choice(("&k ", "!!str ", "!!int ", "!!float ", "!!bool ", "? ", "- ", "*k "))
                + text[start:end]
            )
    return (text[:start] + new + text[end:]).encode(errors="surrogatepass")


def _nodes(text: str) -> list[tuple[int, int]]:
    """Where each node begins and ends."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError):
        return []
    found: dict[int, yaml.Node] = {}
    left = [root] if root else []
    while left:
        node = left.pop()
        if id(node) in found:
            continue
        found[id(node)] = node
        if isinstance(node, yaml.MappingNode):
            left += [each for pair in node.value for each in pair]
        elif isinstance(node, yaml.SequenceNode):
            left += node.value
    return sorted((node.start_mark.index, node.end_mark.index) for node in found.values())


def _of_lines(content: bytes, chance: random.Random) -> bytes:
    lines = content.split(b"\n")
    place = chance.randrange(len(lines))
    indent = b" " * chance.choice((0, 2, 4))
    match chance.randrange(6):
        case 0:
            del lines[place]
        case 1:
            lines.insert(place, chance.choice(lines))
        case 2:
            lines[place] = indent + lines[place].lstrip()
        case 3:
            lines[place:place] = [lines[place]] * chance.choice((10, 300))
        case 4:
            lines[place] = lines[place].partition(b":")[0] + b": " + chance.choice(PIECES).encode()
        case _:
            line = f"{chance.choice(KEYS)}: {chance.choice(PIECES)}"
            lines.insert(place, indent + line.encode())
    return b"\n".join(lines)


def _of_bytes(content: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(content) + 1)
    end = min(len(content), start + chance.choice((0, 1, 1, 8, 200)))
    match chance.randrange(4):
        case 0:
            new = chance.randbytes(chance.choice((1, 2, 8)))
        case 1:
            new = bytes(byte ^ 1 << chance.randrange(8) for byte in content[start:end])
        case 2:
            other = chance.choice(SOURCES)
            at = chance.randrange(len(other))
            new = other[at : at + chance.choice((1, 8, 200))]
        case _:
            new = b""
    return content[:start] + new + content[end:]


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant.

    Attributes:
        kind: a study, refused, or a fault.
        fault: what must not be; empty: nothing.
    """

    kind: str
    fault: str = ""


class _Hangs(BaseException):
    """No error handler may take it for its own."""


class Judge:
    """Reads mutants as the commands do.

    Attributes:
        slowest: seconds of CPU that a refusal took.
        grown: bytes that the process has taken at most, more than at its start.
    """

    def __init__(self) -> None:
        self.slowest, self.grown = 0.0, 0
        self._before = _peak()

    def __call__(self, mutant: bytes) -> Verdict:
        """See that one is a study, or refused in one line, within its time and memory."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "study.yaml"
            path.write_bytes(mutant)
            for name, content in BESIDE.items():
                (path.parent / name).write_text(content)
            settings = random.Random(mutant).sample(SETTINGS, 2) if len(mutant) % 4 == 0 else ()
            began, asked, fault, kind = time.process_time(), 0, "", "studies"
            before = signal.signal(signal.SIGPROF, _stop)
            signal.setitimer(signal.ITIMER_PROF, HANGS)
            try:
                study = load(path, settings=settings)
                asked = study.count
                if study.text.encode() != mutant:
                    fault = _other_text(study)
                if study.search:
                    _draw(study.search)
            except BadInput as error:
                kind, said = "refused", str(error)
                file = rf"{re.escape(folder)}/({'|'.join(('study.yaml', *BESIDE))}):\d+"
                if not re.fullmatch(rf"({file}|--set .+): .+", said) or not said.isprintable():
                    fault = f"no line of its own: {said!r}"
            except _Hangs:
                fault = "hangs"
            except Exception as error:
                fault = f"traceback: {type(error).__name__}: {str(error)[:200]}"
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
                signal.signal(signal.SIGPROF, before)
        took = time.process_time() - began
        self.grown = _peak() - self._before
        if kind == "refused":
            self.slowest = max(self.slowest, took)
        if not fault and took > SECONDS + asked * SECONDS_EACH:
            fault = f"{kind}: {took:.1f} s of CPU for {asked:,} trials"
        if not fault and self.grown > BYTES + asked * BYTES_EACH:
            fault = f"{kind}: {self.grown / 1e6:.0f} MB for {asked:,} trials"
        if self.grown > BYTES:  # what comes after is judged by what it takes more
            self._before = _peak()
        return Verdict("faults" if fault else kind, fault)


def _other_text(study: Study) -> str:
    """What must not be of the text that study.json keeps; empty: it reads as the same study."""
    if study.count > 1000:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / f"{study.name}.yaml"
        kept.write_text(study.text)
        for name, content in BESIDE.items():
            (kept.parent / name).write_text(content)
        again = load(kept)
    if changes(again.text, study.text) or {t.id for t in again.trials()} != {t.id for t in study.trials()}:
        return "the text that is kept is of another study"
    return ""


def _draw(search: Search) -> None:
    """Let a search choose as it does when it runs."""
    history = optuna.create_study(sampler=RandomSampler(seed=0))
    for _ in range(3):
        with warnings.catch_warnings(action="ignore"):  # of steps that miss the high end
            chosen = search.suggest(history.ask())
        assert search.written(chosen) == chosen
        with suppress(BadInput):  # values that do not go together are told as failed
            assert search.chosen(search.make(chosen)) == chosen


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _stop(*signal: object) -> None:
    raise _Hangs

"""Broken parts: what is wrong with each, where a person sees it, and what the line about it says.

In a source the line that the message names has the comment `# HERE`.
"""

from dataclasses import dataclass

# The stages at which a broken part is refused.
READ = "the study is read"
REHEARSED = "it is rehearsed before the launch"
RUN = "a trial runs"
FINE = "never: it works"


@dataclass(frozen=True)
class Broken:
    """A broken part.

    Attributes:
        name: of the case.
        field: of the study that names the part.
        source: of `mine.py`.
        stage: at which it is refused.
        words: that the message has.
        more: further lines of the study.
        file: name of the file.
        reference: in the study; by default the object `mine` of the file.
    """

    name: str
    field: str
    source: str | bytes
    stage: str
    words: tuple[str, ...]
    more: tuple[str, ...] = ()
    file: str = "mine.py"
    reference: str = ""


# Field → parameters, and statements that end a sound part of this kind.
SOUND = {
    "criterion": ("probe", "return {name: weight.abs() for name, weight in probe.weights.items()}"),
    "rule": (
        "run",
        "chosen = next(pruners.trajectory('magnitude', run.model, sparsity=run.config.sparsity)); "
        "run.prune(chosen); run.train('retrain', run.end)",
    ),
    "model": (
        "shape, classes",
        "return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 8), nn.ReLU(), nn.Linear(8, classes))",
    ),
    "dataset": (
        "",
        "draws = torch.Generator().manual_seed(0); "
        "inputs = torch.randint(256, (60, 1, 8, 8), generator=draws, dtype=torch.uint8); "
        "targets = torch.arange(60) % 3; return (inputs, targets), (inputs, targets)",
    ),
    "loss": ("outputs, targets", "return F.cross_entropy(outputs, targets)"),
    "metrics": ("outputs, targets", "return (outputs.argmax(1) == targets).float().mean()"),
    "optimizer": ("parameters, settings", "return torch.optim.SGD(parameters, lr=settings.lr)"),
    "lr_schedule": ("progress, settings", "return 1 - progress"),
    "init": ("weight", "weight.normal_(std=0.1)"),
    "augment": ("images, generator", "return images.flip(-1)"),
}
HEAD = """\
import math, os, random, sys, threading
import numpy as np
import pruners
import torch
import torch.nn.functional as F
from torch import nn
"""


def source(kind: str, body: str, before: str = "", takes: str | None = None, mark: bool = False) -> str:
    """The text of a file with a part of a kind.

    Args:
        before: statements before the function.
        takes: its parameters.
        mark: whether the message names the line of the definition.
    """
    decorator = "@rule()\n" if kind == "rule" else ""
    imported = "from sweep.parts import rule\n" if kind == "rule" else ""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    here = "  # HERE" if mark else ""
    given = SOUND[kind][0] if takes is None else takes
    return f"{HEAD}{imported}{before}\n\n{decorator}def mine({given}):{here}\n{lines}\n"


def sound(kind: str) -> str:
    return SOUND[kind][1].replace("; ", "\n") if kind in ("dataset", "rule") else SOUND[kind][1]


def field_of(kind: str) -> str:
    return "criterion" if kind == "rule" else kind


CASES: list[Broken] = []


def case(kind, name, text, stage, *words, **more):
    CASES.append(Broken(f"{kind}: {name}", field_of(kind), text, stage, words, **more))


# Errors that the code of every kind raises, at a call and at the import.
ERRORS = {
    "ValueError": ("raise ValueError('boom')  # HERE", "ValueError: boom"),
    "error of several lines": ("raise RuntimeError('one\\ntwo')  # HERE", "RuntimeError: one two"),
    "error without a message": ("raise KeyError  # HERE", "KeyError"),
    "division by zero": ("1 / 0  # HERE", "ZeroDivisionError"),
    "assertion": ("assert 1 == 2, 'odd'  # HERE", "AssertionError: odd"),
    "sys.exit": ("sys.exit(3)  # HERE", "SystemExit: 3"),
    "KeyboardInterrupt": ("raise KeyboardInterrupt  # HERE", "KeyboardInterrupt"),
    "error that is no Exception": (
        "class Boom(BaseException): ...\nraise Boom('bang')  # HERE",
        "Boom: bang",
    ),
    "error whose message fails": (
        "class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd  # HERE",
        "Odd",
    ),
    "GeneratorExit": ("raise GeneratorExit  # HERE", "GeneratorExit"),
    "StopIteration": ("next(iter(()))  # HERE", "StopIteration"),
    "endless recursion": ("def deeper(): return deeper()  # HERE\ndeeper()", "RecursionError"),
    "too much memory": ("torch.empty(10**15)  # HERE", "RuntimeError"),
    "too large an array": ("np.empty(10**15)  # HERE", "Unable to allocate"),
    "unknown name": ("undefined_name  # HERE", "NameError"),
    "unknown attribute": ("torch.no_such_function(1)  # HERE", "AttributeError"),
    "missing package": ("import no_such_package  # HERE", "No module named 'no_such_package'"),
    "wrong shapes": ("torch.ones(2, 3) @ torch.ones(2, 3)  # HERE", "RuntimeError"),
}
AT_IMPORT = (
    "ValueError",
    "sys.exit",
    "KeyboardInterrupt",
    "missing package",
    "endless recursion",
    "error that is no Exception",
)
for kind in SOUND:
    for name, (body, word) in ERRORS.items():
        case(kind, name, source(kind, body), REHEARSED, word)
    for name in AT_IMPORT:
        body, word = ERRORS[name]
        case(kind, f"{name} at the import", source(kind, sound(kind), f"{body}\n"), REHEARSED, word)

# Answers of a wrong type.
EXPECTED = {
    "criterion": "expected a dict",
    "rule": "expected None",
    "model": "expected a network",
    "dataset": "give a pair",
    "loss": "expected a tensor of one number",
    "metrics": "expected a number",
    "optimizer": "expected a torch.optim.Optimizer",
    "lr_schedule": "expected a number",
    "init": "in place",
    "augment": "expected a tensor",
}
ANSWERS = {
    "nothing": ("None", "None"),
    "text": ("'text'", "str"),
    "an object": ("object()", "object"),
    "a class": ("int", "type"),
    "a generator": ("(each for each in ())", "generator"),
}
for kind, expected in EXPECTED.items():
    for name, (value, word) in ANSWERS.items():
        if value != "None" or kind not in ("rule", "init"):
            case(kind, f"gives {name}", source(kind, f"return {value}", mark=True), REHEARSED, word, expected)
    case(
        kind,
        "has a yield",
        source(kind, f"{sound(kind)}\nyield 1", mark=True),
        REHEARSED,
        "generator",
        expected,
    )

# Settings of the process that a part changes.
SETTINGS = {
    "switches gradients off": ("torch.set_grad_enabled(False)", "gradient mode"),
    "sets another default dtype": ("torch.set_default_dtype(torch.float64)", "default dtype"),
    "takes more threads": ("torch.set_num_threads(3)", "number of threads"),
    "changes the folder": ("os.chdir('/')", "working folder"),
    "sets another recursion limit": ("sys.setrecursionlimit(5000)", "recursion limit"),
}
for kind in SOUND:
    for name, (body, word) in SETTINGS.items():
        # These are called in a gradient mode of their own.
        if kind in ("init", "criterion", "metrics") and word == "gradient mode":
            continue
        case(kind, name, source(kind, f"{body}\n{sound(kind)}", mark=True), REHEARSED, word, "expected")

# Random numbers that no trial seeds.
for kind, body in {
    "rule": f"run.train('dense', int(np.random.rand() * run.end))\n{sound('rule')}",
    "criterion": "return {name: torch.from_numpy(np.random.rand(*weight.shape)) for name, weight in probe.weights.items()}",
    "model": f"torch.manual_seed(random.randrange(10**6))\n{sound('model')}",
    "dataset": sound("dataset").replace("manual_seed(0)", "manual_seed(random.randrange(10**6))"),
    "dataset of torch's numbers": sound("dataset").replace(
        "manual_seed(0)", "manual_seed(int(torch.randint(10**6, ())))"
    ),
    "loss": "return F.cross_entropy(outputs, targets) * random.random()",
    "metrics": "return random.random()",
    "optimizer": "return torch.optim.SGD(parameters, lr=settings.lr, weight_decay=random.random())",
    "lr_schedule": "return random.random()",
    "init": "weight.copy_(torch.from_numpy(np.random.rand(*weight.shape)) - 0.5)",
    "augment": "return images if random.random() < 0.5 else images.flip(-1)",
}.items():
    kind = kind.partition(" ")[0]
    case(kind, "draws random numbers of its own", source(kind, body, mark=True), REHEARSED, "two runs with one seed differ", "expected")

# Signatures.
for kind in SOUND:
    names = SOUND[kind][0]
    case(kind, "takes more", source(kind, sound(kind), takes=", ".join(filter(None, ("a, b, c, d", names))), mark=True), READ, "and this takes (a, b, c, d", "give each parameter a default")
    if names:
        case(kind, "takes nothing", source(kind, sound(kind), takes="", mark=kind != "dataset"), READ, "and this takes ()")
    case(kind, "needs a parameter of an odd type", source(kind, sound(kind), takes=f"{names}{', ' if names else ''}*, odd: torch.Tensor", mark=True), READ, "parameter odd has no default", "Literal")
    case(kind, "needs a parameter that the study does not give", source(kind, sound(kind), takes=f"{names}{', ' if names else ''}*, width: int"), READ, ".width")
    case(kind, "has another name", source(kind, sound(kind)).replace("def mine", "def mime"), READ, "there is no mine; did you mean mime?")
    case(kind, "is a list", HEAD + "mine = [1, 2]  # HERE\n" if kind != "rule" else HEAD + "from sweep.parts import rule\nmine = [1, 2]  # HERE\n", REHEARSED, "list")
    case(kind, "is gone after the import", source(kind, sound(kind), mark=True) + "\n\ndel mine\n", REHEARSED, "AttributeError", "mine")
    other = "loss" if kind != "loss" else "metric"
    text = source(kind, sound(kind), f"from sweep.parts import {other}\n", mark=True)
    case(kind, "is decorated as another kind", text.replace("@rule()\n", "").replace("def mine", f"@{other}()\ndef mine"), READ, f"is a {other}: it belongs in")
    if kind != "criterion":
        name = "metric" if kind == "metrics" else kind
        decorated = source(kind, sound(kind), f"from sweep.parts import {name}\n", mark=True).replace(
            "@rule()\n", ""
        )
        for said, words in {
            "no_such_option=1": ("no_such_option",),
            "version=1.5": ("version 1.5", "a number or a word"),
            "version='a b'": ("version 'a b'",),
            "version=HEAD": ("version is read without running the file", "plain value"),
        }.items():
            case(kind, f"has a decorator with {said}", decorated.replace("def mine", f"@{name}({said})\ndef mine"), READ, *words)

for kind, said, words in (
    ("model", "smallest='8'", ("smallest",)),
    ("model", "patch=0.5", ("patch",)),
    ("dataset", "task='sorting'", ("task",)),
    ("dataset", "mirrored='yes'", ("mirrored",)),
    ("loss", "tasks=3", ("tasks",)),
    ("metrics", "higher_is_better='yes'", ("higher_is_better",)),
    ("metrics", "tasks='regression'", ("tasks",)),
    ("optimizer", "reads='momentum'", ("reads",)),
    ("rule", "reads=['no_such_field']", ("no_such_field",)),
    ("rule", "reads=3", ("reads",)),
    ("rule", "exact='no'", ("exact",)),
):
    name = "metric" if kind == "metrics" else kind
    decorated = source(kind, sound(kind), f"from sweep.parts import {name}\n", mark=True).replace(
        "@rule()\n", ""
    )
    case(kind, f"has a decorator with {said}", decorated.replace("def mine", f"@{name}({said})\ndef mine"), READ, *words)

# Files.
LOSS = source("loss", sound("loss"))
for name, text, stage, words, more in (
    ("a syntax error", LOSS + "\ndef broken(:  # HERE\n", READ, ("not Python: invalid syntax",), {}),
    ("a wrong indent", LOSS + "\n  x = 1  # HERE\n", READ, ("not Python: unexpected indent",), {}),
    ("an open bracket", LOSS + "\nx = (1,  # HERE\n", READ, ("not Python", "never closed"), {}),
    ("a NUL byte", LOSS + "\nx = '\0'\n", READ, ("not Python",), {}),
    ("bytes that are no UTF-8", LOSS.encode() + b"\n# \xff\n", READ, ("not a text file in UTF-8",), {}),
    ("UTF-16", LOSS.encode("utf-16"), READ, ("not a text file in UTF-8",), {}),
    ("too deep nesting", LOSS + "\nx = " + "(" * 300 + ")" * 300 + "  # HERE\n", READ, ("not Python",), {}),
    ("nothing", "", READ, ("there is no mine; it has nothing",), {}),
    ("a byte-order mark", "\ufeff" + LOSS, FINE, (), {}),
    ("line ends of Windows", LOSS.replace("\n", "\r\n"), FINE, (), {}),
    ("a future import", "from __future__ import annotations\n" + LOSS, FINE, (), {}),
    ("a space in its name", LOSS, READ, ("no space", "rename it"), {"file": "my loss.py"}),
    ("a dot in its name", LOSS, READ, ("no dot", "rename it"), {"file": "my.loss.py"}),
    ("an @ in its name", LOSS, READ, ("mine",), {"file": "my@loss.py"}),
    ("a name of letters with accents", LOSS, FINE, (), {"file": "größe.py"}),
    ("a keyword as its name", LOSS, FINE, (), {"file": "class.py"}),
    ("a hyphen in its name", LOSS, FINE, (), {"file": "my-loss.py"}),
    ("another file's name", LOSS, READ, ("there is no file",), {"reference": "no_such.py:mine"}),
    ("no name of an object", LOSS, READ, ("mine.py",), {"reference": "mine.py"}),
    ("two colons", LOSS, READ, ("mine.py:mine:x",), {"reference": "mine.py:mine:x"}),
    ("a number as the object's name", LOSS, READ, ("mine.py:1",), {"reference": "mine.py:1"}),
    ("a folder", LOSS, READ, ("there is no file",), {"reference": "../:mine"}),
    ("a module that is not installed", LOSS, READ, ("no_such.module",), {"reference": "no_such.module:mine"}),
    ("an object of the standard library", LOSS, READ, ("math",), {"reference": "math:cos"}),
    ("an import of itself", "import mine as again\n" + LOSS, FINE, (), {}),
    ("an import of a name of itself", "from mine import helper  # HERE\n" + LOSS + "\nhelper = 1\n", REHEARSED, ("ImportError", "helper"), {}),
    ("a lambda", HEAD + "mine = lambda outputs, targets: F.cross_entropy(outputs, targets)\n", FINE, (), {}),
    ("a class", HEAD + "class mine:  # HERE\n    pass\n", REHEARSED, ("TypeError",), {}),
    ("an async function", LOSS.replace("def mine", "async def mine"), READ, ("mine",), {}),
    ("a name defined in an if", HEAD + "if True:\n    mine = F.cross_entropy\n", READ, ("mine",), {}),
    ("a built-in function", HEAD + "mine = max  # HERE\n", REHEARSED, ("expected",), {}),
    ("letters with accents in a parameter", LOSS.replace("targets)", "targets, *, größe: float = 1)", 1), FINE, (), {"more": ("loss.größe: 2",)}),
    ("a parameter of a wrong type", LOSS.replace("targets)", "targets, *, width: int = 1)", 1), READ, ("width",), {"more": ("loss.width: many",)}),
    ("a parameter that it does not take", LOSS, READ, ("takes no such parameter",), {"more": ("loss.width: 1",)}),
    ("a default of an odd type", LOSS.replace("targets)", "targets, *, odd=torch.ones(2))", 1), FINE, (), {}),
    ("a default that fails", LOSS.replace("targets):", "targets, *, odd=1 / 0):  # HERE", 1), REHEARSED, ("ZeroDivisionError",), {}),
    ("variadic parameters", LOSS.replace("targets)", "targets, *rest, **named)", 1), FINE, (), {}),
):
    case("loss", f"its file has {name}", text, stage, *words, **more)

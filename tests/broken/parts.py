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
        if kind in ("init", "criterion", "metrics", "rule") and word == "gradient mode":
            continue
        case(kind, name, source(kind, f"{body}\n{sound(kind)}", mark=True), REHEARSED, word, "expected")

# Random numbers that no trial seeds.
for kind, body in {
    "rule": sound("rule")
    .replace("'magnitude'", "'random'")
    .replace("sparsity=run", "seed=random.randrange(10**6), sparsity=run"),
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
    case(kind, "draws random numbers of its own", source(kind, body, mark=True), REHEARSED, "two runs with one seed differ", "expected")  # fmt: skip

# Signatures.
for kind in SOUND:
    names = SOUND[kind][0]
    case(kind, "takes more", source(kind, sound(kind), takes=", ".join(filter(None, ("a, b, c, d", names))), mark=True), READ, "and this takes (a, b, c, d", "give each parameter a default")  # fmt: skip
    if names:
        case(kind, "takes nothing", source(kind, sound(kind), takes="", mark=kind != "dataset"), READ, "and this takes ()")  # fmt: skip
    case(kind, "needs a parameter of an odd type", source(kind, sound(kind), takes=f"{names}{', ' if names else ''}*, odd: torch.Tensor", mark=True), READ, "parameter odd has no default", "Literal")  # fmt: skip
    case(kind, "needs a parameter that the study does not give", source(kind, sound(kind), takes=f"{names}{', ' if names else ''}*, width: int"), READ, "width", "default")  # fmt: skip
    case(kind, "has another name", source(kind, sound(kind)).replace("def mine", "def mime"), READ, "there is no mine; did you mean mime?")  # fmt: skip
    case(kind, "is a list", HEAD + "mine = [1, 2]  # HERE\n" if kind != "rule" else HEAD + "from sweep.parts import rule\nmine = [1, 2]  # HERE\n", REHEARSED, "list")  # fmt: skip
    case(kind, "is gone after the import", source(kind, sound(kind), mark=True) + "\n\ndel mine\n", REHEARSED, "AttributeError", "mine")  # fmt: skip
    other = "loss" if kind != "loss" else "metric"
    text = source(kind, sound(kind), f"from sweep.parts import {other}\n", mark=True)
    case(kind, "is decorated as another kind", text.replace("@rule()\n", "").replace("def mine", f"@{other}()\ndef mine"), READ, f"is a {other}: it belongs in")  # fmt: skip
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
            case(kind, f"has a decorator with {said}", decorated.replace("def mine", f"@{name}({said})\ndef mine"), READ, *words)  # fmt: skip

for said, words in (
    ("no_such_option=1", ("no_such_option",)),
    ("needs='water'", ("needs",)),
    ("iterations=0", ("iterations",)),
    ("iterations='many'", ("iterations",)),
    ("train_mode=probe", ("train_mode is read without running the file",)),
):
    text = source("criterion", sound("criterion"), mark=True).replace(
        "def mine", f"@pruners.criterion({said})\ndef mine"
    )
    case("criterion", f"has a decorator with {said}", text, READ, *words)
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
    ("optimizer", "reads=['no_such_field']", ("no_such_field",)),
    ("lr_schedule", "reads=['no_such_field']", ("no_such_field",)),
    ("loss", "tasks=['sorting']", ("not for classification",)),
):
    name = "metric" if kind == "metrics" else kind
    decorated = source(kind, sound(kind), f"from sweep.parts import {name}\n", mark=True).replace(
        "@rule()\n", ""
    )
    case(kind, f"has a decorator with {said}", decorated.replace("def mine", f"@{name}({said})\ndef mine"), READ, *words)  # fmt: skip

# Files.
LOSS = source("loss", sound("loss"))
for name, text, stage, words, more in (
    ("a syntax error", LOSS + "\ndef broken(:  # HERE\n", READ, ("not Python: invalid syntax",), {}),
    ("a wrong indent", LOSS + "\n  x = 1  # HERE\n", READ, ("not Python: unindent",), {}),
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
    ("a function with accents in its name", LOSS.replace("def mine", "def ähnlich"), FINE, (), {"reference": "mine.py:ähnlich"}),
    ("a keyword as its name", LOSS, FINE, (), {"file": "class.py"}),
    ("a hyphen in its name", LOSS, FINE, (), {"file": "my-loss.py"}),
    ("another file's name", LOSS, READ, ("there is no file",), {"reference": "no_such.py:mine"}),
    ("no name of an object", LOSS, READ, ("mine.py",), {"reference": "mine.py"}),
    ("two colons", LOSS, READ, ("mine.py:mine:x",), {"reference": "mine.py:mine:x"}),
    ("a number as the object's name", LOSS, READ, ("mine.py:1",), {"reference": "mine.py:1"}),
    ("a folder", LOSS, READ, ("there is no module ../",), {"reference": "../:mine"}),
    ("a module that is not installed", LOSS, READ, ("no_such.module",), {"reference": "no_such.module:mine"}),
    ("an object of the standard library", LOSS, READ, ("math",), {"reference": "math:cos"}),
    ("an import of itself", "import mine as again\n" + LOSS, FINE, (), {}),
    ("an import of a name of itself", "from mine import helper  # HERE\n" + LOSS + "\nhelper = 1\n", REHEARSED, ("ImportError", "helper"), {}),
    ("a lambda", HEAD + "mine = lambda outputs, targets: F.cross_entropy(outputs, targets)\n", FINE, (), {}),
    ("a class", HEAD + "class mine:  # HERE\n    pass\n", REHEARSED, ("TypeError",), {}),
    ("an async function", LOSS.replace("def mine", "async def mine"), READ, ("mine",), {}),
    ("a name defined in an if", HEAD + "if True:\n    mine = F.cross_entropy\n", READ, ("mine",), {}),
    ("a built-in function", HEAD + "mine = max  # HERE\n", REHEARSED, ("RuntimeError",), {}),
    ("letters with accents in a parameter", LOSS.replace("targets)", "targets, *, größe: float = 1)", 1), FINE, (), {"more": ("loss.größe: 2",)}),
    ("a parameter of a wrong type", LOSS.replace("targets)", "targets, *, width: int = 1)", 1), READ, ("width",), {"more": ("loss.width: many",)}),
    ("a parameter that it does not take", LOSS, READ, ("takes no such parameter",), {"more": ("loss.width: 1",)}),
    ("a default of an odd type", LOSS.replace("targets)", "targets, *, odd=torch.ones(2))", 1), FINE, (), {}),
    ("a default that fails", LOSS.replace("targets):", "targets, *, odd=1 / 0):  # HERE", 1), REHEARSED, ("ZeroDivisionError",), {}),
    ("variadic parameters", LOSS.replace("targets)", "targets, *rest, **named)", 1), FINE, (), {}),
):  # fmt: skip
    case("loss", f"its file has {name}", text, stage, *words, **more)

# What only one kind can do wrong.
SCORES = (
    "scores = {name: weight.abs() for name, weight in probe.weights.items()}\nfirst = next(iter(scores))\n"
)
for name, change, words in (
    ("leaves out a layer", "del scores[first]", ("gives no scores of", "expected")),
    ("scores a bias", "scores['bias'] = torch.ones(3)", ("gives scores of bias", "expected")),
    ("gives scores of a wrong shape", "scores[first] = torch.ones(3)", ("have shape (3,)", "expected (")),
    ("gives NaN", "scores[first][0] = math.nan", ("are NaN or infinite", "expected finite numbers")),
    ("gives infinite scores", "scores[first][0] = math.inf", ("are NaN or infinite", "expected")),
    ("gives whole numbers", "scores[first] = scores[first].long()", ("int64", "expected dense real")),
    ("gives booleans", "scores[first] = scores[first] > 0", ("bool", "expected dense real")),
    ("gives complex numbers", "scores[first] = scores[first] + 1j", ("complex64", "expected dense real")),
    ("gives sparse tensors", "scores[first] = scores[first].to_sparse()", ("sparse", "expected dense")),
    (
        "gives scores on another device",
        "scores[first] = scores[first].to('meta')",
        ("on meta", "expected cpu"),
    ),
    ("gives an array", "scores[first] = scores[first].detach().numpy()", ("ndarray", "expected a tensor")),
    ("gives a list", "scores = list(scores.values())", ("list", "expected a dict")),
    ("gives numbers as names", "scores = dict(enumerate(scores.values()))", ("gives no scores", "expected")),
):
    case(
        "criterion",
        name,
        source("criterion", f"{SCORES}{change}\nreturn scores", mark=True),
        REHEARSED,
        *words,
    )
PLAIN = "return {name: p.abs() for name, p in model.named_parameters() if p.dim() > 1}"
for name, body in (
    ("sets the weights to 0", "for p in model.parameters(): p.data.zero_()"),
    ("takes gradients off the parameters", "for p in model.parameters(): p.requires_grad_(False)"),
    ("leaves gradients behind", "loss(model(batches[0][0]), batches[0][1]).backward()"),
    ("sets the network to eval mode", "model.eval()"),
    ("adds a layer to the network", "model.more = nn.Linear(2, 2)"),
    ("writes to the batches", "batches[0][0].zero_()"),
    ("seeds torch", "torch.manual_seed(3); np.random.seed(3); random.seed(3)"),
):
    case("criterion", name, source("criterion", f"{body}\n{PLAIN}", takes="model, batches, loss"), FINE)

NET = """\
class Net(nn.Module):
    def __init__(self, inputs, classes):
        super().__init__()
        self.layer, self.classes = nn.Linear(inputs, classes), classes

    def forward(self, images):
        outputs = self.layer(images.flatten(1))
        CHANGE
"""
MADE = "return Net(math.prod(shape), classes)"
for name, change, words in (
    ("puts out one number too many", "return torch.cat([outputs, outputs[:, :1]], 1)", ("outputs have shape (8, 11), expected (8, 10)",)),
    ("puts out no classes", "return outputs.mean(1)", ("outputs have shape (8,), expected (8, 10)",)),
    ("puts out the mean of the batch", "return outputs.mean(0, keepdim=True)", ("outputs have shape (1, 10), expected (8, 10)",)),
    ("puts out a tuple", "return outputs, outputs", ("tuple", "expected a tensor (8, 10)")),
    ("puts out a dict", "return {'logits': outputs}", ("dict", "expected a tensor")),
    ("puts out nothing", "outputs", ("NoneType", "expected a tensor")),
    ("puts out an array", "return outputs.detach().numpy()", ("ndarray", "expected a tensor")),
    ("puts out whole numbers", "return outputs.long()", ("int64", "expected real numbers")),
    ("puts out NaN", "return outputs * math.nan", ("NaN or infinity", "expected finite numbers")),
    ("puts out infinity", "return outputs / 0", ("NaN or infinity", "expected finite numbers")),
    ("has no gradient", "return outputs.detach()", ("no gradient", "expected")),
    ("switches gradients off in training", "torch.set_grad_enabled(False); return self.layer(images.flatten(1))", ("no gradient", "expected")),
    ("puts out a tuple in training alone", "return (outputs, outputs) if self.training else outputs", ("tuple", "expected")),
    ("draws random numbers", "return outputs * random.random()", ("two runs with one seed differ",)),
    ("trains its own weights", "if self.training:\n            with torch.no_grad(): self.layer.weight.add_(0.001)\n        return self.layer(images.flatten(1))", ("not 0 after training", "expected 0")),
):  # fmt: skip
    case("model", name, source("model", MADE, NET.replace("CHANGE", change.replace("; ", "\n        ")), mark=True), REHEARSED, *words)  # fmt: skip
for name, body, words in (
    ("has no weights to prune", "return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.LazyLinear(10))[:2]", ("expected linear or convolutional layers",)),
    ("has no parameters", "return nn.Flatten()", ("expected linear or convolutional layers",)),
    ("has a layer without a shape yet", "return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))", ("LazyLinear", "expected complete layers")),
    ("is on no device", "return nn.Sequential(nn.Flatten(), nn.Linear(64, classes, device='meta'))", ("meta",)),
    ("has two layers that do not fit", "return nn.Sequential(nn.Flatten(), nn.Linear(63, classes))", ("shapes cannot be multiplied",)),
    ("has weights of double precision", "return nn.Sequential(nn.Flatten(), nn.Linear(64, classes)).double()", ("dtype",)),
    ("has no weight with a gradient", "return nn.Sequential(nn.Flatten(), nn.Linear(64, classes)).requires_grad_(False)", ("no parameter with a gradient", "expected")),
    ("is a class", "return nn.Linear", ("type", "expected a network")),
    ("has no forward", "return nn.Module()", ("expected linear or convolutional layers",)),
    ("is a list of layers", "return [nn.Flatten(), nn.Linear(64, classes)]", ("list", "expected a network")),
):  # fmt: skip
    case("model", name, source("model", body, mark=True), REHEARSED, *words)
case("model", "is one network for all trials", source("model", "return SHARED", "SHARED = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n", mark=True), REHEARSED, "one network twice", "expected a new one")  # fmt: skip
case("model", "does not call its base class", source("model", MADE, NET.replace("super().__init__()", "pass").replace("CHANGE", "return outputs").replace("self.layer, self.classes =", "self.layer, self.classes = ").replace("classes), classes\n", "classes), classes  # HERE\n")), REHEARSED, "AttributeError", "before Module.__init__")  # fmt: skip
case("model", "has a parameter that no output depends on", source("model", MADE, NET.replace("CHANGE", "return outputs").replace("        self.layer", "        self.unused = nn.Linear(3, 3)\n        self.layer")), FINE, more=("criterion: snip",))  # fmt: skip

IMAGES = "inputs = torch.arange(60 * 64).remainder(256).view(60, 1, 8, 8).to(torch.uint8)\ntargets = torch.arange(60) % 3\n"
for name, body, words in (
    ("gives three parts", "return (inputs, targets), (inputs, targets), (inputs, targets)", ("a tuple of 3", "give a pair (train, test)")),
    ("gives one part", "return inputs, targets", ("give a pair (inputs, targets)",)),
    ("gives fewer targets", "return (inputs, targets[:5]), (inputs, targets)", ("60 inputs and 5 targets",)),
    ("gives an empty part", "return (inputs, targets), (inputs[:0], targets[:0])", ("test is empty",)),
    ("gives another shape to test", "return (inputs, targets), (inputs[..., 1:], targets)", ("test inputs are (1, 8, 7)", "give equal ones")),
    ("gives another type to test", "return (inputs, targets), (inputs.float(), targets)", ("test inputs", "give equal ones")),
    ("gives NaN inputs", "inputs = inputs.float()\ninputs[3] = math.nan\nreturn (inputs, targets), (inputs, targets)", ("NaN or infinite",)),
    ("gives NaN targets", "targets = targets * math.nan\nreturn (inputs, targets), (inputs, targets)", ("NaN or infinite",)),
    ("gives negative labels", "return (inputs, targets - 1), (inputs, targets)", ("label is -1", "from 0")),
    ("leaves labels out", "return (inputs, targets * 2), (inputs, targets)", ("number the labels without gaps",)),
    ("tests on a label that it never trains", "return (inputs, targets), (inputs, targets + 1)", ("a test target is 3",)),
    ("gives text as targets", "return (inputs, ['a'] * 60), (inputs, ['a'] * 60)", ("<U1", "give numbers")),
    ("gives lists of unequal lengths", "return ([[1], [1, 2]], [0, 1]), ([[1], [1, 2]], [0, 1])", ("not of one shape",)),
    ("gives complex inputs", "inputs = inputs * 1j\nreturn (inputs, targets), (inputs, targets)", ("complex64", "plain numbers")),
    ("gives sparse inputs", "inputs = inputs.float().to_sparse()\nreturn (inputs, targets), (inputs, targets)", ("sparse", "plain numbers")),
    ("gives single numbers", "return (torch.tensor(1.0), torch.tensor(1)), (inputs, targets)", ("a single number",)),
    ("gives targets of three dimensions", "targets = torch.rand(60, 2, 2)\nreturn (inputs, targets), (inputs, targets)", ("fit no task",)),
    ("gives endless items", "class Endless(torch.utils.data.IterableDataset):\n    def __iter__(self): yield 1\nreturn Endless(), Endless()", ("IterableDataset",)),
    ("gives items without a length", "class Items(torch.utils.data.Dataset): ...\nreturn Items(), Items()", ("without a length",)),
    ("gives items that are no pairs", "class Items(torch.utils.data.Dataset):\n    def __len__(self): return 3\n    def __getitem__(self, index): return index\nreturn Items(), Items()", ("as an item", "give pairs")),
    ("gives items of unequal shapes", "class Items(torch.utils.data.Dataset):\n    def __len__(self): return 3\n    def __getitem__(self, index): return torch.ones(index), 0\nreturn Items(), Items()", ("not of one shape",)),
    ("gives strings", "return 'train', 'test'", ("is a str",)),
    ("gives dicts", "return {'x': inputs}, {'x': inputs}", ("is a dict",)),
    ("gives objects", "objects = np.array([object()] * 60)\nreturn (objects, targets), (objects, targets)", ("array of object", "give numbers")),
    ("gives dates", "dates = np.array(['2020-01-01'] * 60, dtype='datetime64')\nreturn (dates, targets), (dates, targets)", ("datetime64", "give numbers")),
    ("gives two samples", "return (inputs[:2], targets[:2]), (inputs[:2], targets[:2])", ("leaves nothing",)),
):  # fmt: skip
    case("dataset", name, source("dataset", IMAGES + body, mark=True), REHEARSED, *words)
case("dataset", "fails at an item", source("dataset", "class Items(torch.utils.data.Dataset):\n    def __len__(self): return 3\n    def __getitem__(self, index): return 1 / 0  # HERE\nreturn Items(), Items()"), REHEARSED, "ZeroDivisionError")  # fmt: skip
case("dataset", "says another task", source("dataset", IMAGES + "return (inputs, targets * 0.5), (inputs, targets * 0.5)", "from sweep.parts import dataset\n", mark=True).replace("def mine", "@dataset(task='classification')\ndef mine"), REHEARSED, "train targets", "classification takes")  # fmt: skip

for name, body, words in (
    ("gives a loss for each sample", "return F.cross_entropy(outputs, targets, reduction='none')", ("shape (8,)", "expected a tensor of one number")),
    ("gives a number of Python", "return float(F.cross_entropy(outputs, targets))", ("a float", "expected a tensor")),
    ("has no gradient", "return F.cross_entropy(outputs.detach(), targets)", ("no gradient", "expected")),
    ("gives whole numbers", "return (outputs.argmax(1) != targets).sum()", ("no gradient", "expected")),
    ("gives NaN", "return F.cross_entropy(outputs, targets) * math.nan", ("NaN or infinite", "expected finite")),
    ("gives infinity", "return F.cross_entropy(outputs, targets) / 0", ("NaN or infinite", "expected finite")),
    ("writes to the targets", "targets.add_(0)\nreturn F.cross_entropy(outputs, targets)", ("changes the targets in place", "expected")),
    ("gives a pair", "return F.cross_entropy(outputs, targets), 1", ("a tuple", "expected a tensor")),
):  # fmt: skip
    case("loss", name, source("loss", body, mark=True), REHEARSED, *words)
case("loss", "is of another task", source("loss", "return F.mse_loss(outputs, targets)  # HERE"), REHEARSED, "RuntimeError", "size of tensor")  # fmt: skip
case("loss", "writes to the outputs", source("loss", "shares = outputs.exp()\nloss = F.cross_entropy(shares, targets)\nshares.mul_(2)\nreturn loss", mark=True), REHEARSED, "inplace operation")  # fmt: skip
for name, body in (
    ("is negative", "return F.cross_entropy(outputs, targets) - 100"),
    ("is always 0", "return outputs.sum() * 0"),
    ("prints much", "print('x' * 10000)\nreturn F.cross_entropy(outputs, targets)"),
):
    case("loss", name, source("loss", body), FINE)

for name, value, word in (
    ("gives numbers of classes", "torch.ones(3)", "shape (3,)"),
    ("gives no number at all", "torch.ones(0)", "shape (0,)"),
    ("gives a complex number", "1j", "complex"),
    ("gives a number as text", "'0.5'", "str"),
    ("gives a dict", "{'f1': 0.5}", "dict"),
    ("gives an array", "np.ones(2)", "ndarray"),
):
    case(
        "metrics", name, source("metrics", f"return {value}", mark=True), REHEARSED, word, "expected a number"
    )
for name, value in (
    ("gives NaN", "math.nan"),
    ("gives infinity", "math.inf"),
    ("gives a tensor of one number", "torch.ones(1)"),
    ("gives a number of NumPy", "np.float32(0.5)"),
    ("writes to outputs and targets", "outputs.zero_().sum() + targets.zero_().sum()"),
):
    case(
        "metrics",
        name,
        source("metrics", f"return {value}"),
        FINE,
        more=("metrics: [mine.py:mine, accuracy]",),
    )

for name, body, words in (
    ("makes none of torch's", "class Own:\n    param_groups = []\n    def step(self): pass\nreturn Own()", ("Own", "expected a torch.optim.Optimizer")),
    ("trains copies", "return torch.optim.SGD([p.clone().detach().requires_grad_() for p in parameters])", ("other tensors", "expected one of the given")),
    ("needs a closure", "return torch.optim.LBFGS(parameters)", ("step needs arguments", "expected")),
    ("gives the class", "return torch.optim.SGD", ("type", "expected a torch.optim.Optimizer")),
    ("gives a schedule", "return torch.optim.lr_scheduler.StepLR(torch.optim.SGD(parameters, lr=1.0), 1)", ("StepLR", "expected")),
    ("moves pruned weights", "class Noisy(torch.optim.SGD):\n    def step(self, closure=None):\n        for group in self.param_groups:\n            for p in group['params']: p.data += 0.001\nreturn Noisy(parameters, lr=settings.lr)", ("pruned weights of", "not 0 after training", "expected 0")),
):  # fmt: skip
    case("optimizer", name, source("optimizer", body, mark=True), REHEARSED, *words)
for name, body, words in (
    ("has no parameters", "return torch.optim.SGD([], lr=settings.lr)  # HERE", ("ValueError", "empty parameter list")),
    ("has a negative rate", "return torch.optim.SGD(parameters, lr=-1.0)  # HERE", ("Invalid learning rate",)),
    ("reads no field of the config", "return torch.optim.SGD(parameters, lr=settings.no_such_field)  # HERE", ("AttributeError", "no_such_field")),
    ("fails at a step", "class Own(torch.optim.SGD):\n    def step(self, closure=None): raise ValueError('step')  # HERE\nreturn Own(parameters, lr=1.0)", ("ValueError: step",)),
):  # fmt: skip
    case("optimizer", name, source("optimizer", body), REHEARSED, *words)
case("optimizer", "ignores the learning rate", source("optimizer", "class Own(torch.optim.SGD):\n    @torch.no_grad()\n    def step(self, closure=None):\n        for p in self.param_groups[0]['params']: p -= 0.01 * p.grad\nreturn Own(parameters, lr=1.0)"), FINE)  # fmt: skip

for name, value, word in (
    ("gives NaN", "math.nan", "nan"),
    ("gives infinity", "math.inf", "inf"),
    ("is negative", "-0.1", "-0.1"),
    ("gives a number as text", "'0.5'", "str"),
    ("gives several numbers", "torch.ones(2)", "shape (2,)"),
    ("gives a list", "[1.0]", "list"),
    ("gives a complex number", "1j", "complex"),
):
    case(
        "lr_schedule",
        name,
        source("lr_schedule", f"return {value}", mark=True),
        REHEARSED,
        word,
        "expected a",
    )

for name, body, words in (
    ("changes the shape", "weight.data = torch.zeros(2, 2)", ("(2, 2)", "expected")),
    ("changes the type", "weight.data = weight.data.double()", ("float64", "expected")),
    ("draws NaN", "weight.fill_(math.nan)", ("NaN or infinite", "expected finite")),
    ("draws infinity", "weight.fill_(math.inf)", ("NaN or infinite", "expected finite")),
    ("gives a new weight", "return torch.randn_like(weight)", ("in place",)),
):
    case("init", name, source("init", body, mark=True), REHEARSED, *words)
case("init", "draws three dimensions alone", source("init", "nn.init.dirac_(weight)  # HERE"), REHEARSED, "ValueError", "dimensions")  # fmt: skip
case("init", "does nothing", source("init", "pass"), FINE)

for name, value, words in (
    (
        "gives real numbers",
        "images.float()",
        ("torch.float32", "expected a tensor of (8, 1, 8, 8), torch.uint8"),
    ),
    ("crops", "images[..., 1:]", ("(8, 1, 8, 7)", "expected a tensor of (8, 1, 8, 8)")),
    ("leaves images out", "images[1:]", ("(7, 1, 8, 8)", "expected")),
    ("gives an array", "images.numpy()", ("ndarray", "expected a tensor")),
    ("gives a pair", "(images, generator)", ("tuple", "expected a tensor")),
):
    case("augment", name, source("augment", f"return {value}", mark=True), REHEARSED, *words)
case(
    "augment",
    "gives NaN",
    source("augment", "return images * math.nan", mark=True),
    REHEARSED,
    "torch.float32",
    "expected",
)
case("augment", "writes to the images", source("augment", "return images.zero_()"), FINE)

MASKS = "masks = {name: torch.ones_like(mask) for name, mask in run.full_masks().items()}\nfirst = next(iter(masks))\n"
PRUNED = f"{sound('rule').splitlines()[0]}\nfirst = next(iter(chosen.masks))\n"
FIRST = "1.weight"
for name, body, words in (
    ("never prunes", "run.train('retrain', run.end)", ("never prunes", "expected a call of run.prune")),
    ("does nothing", "pass", ("never prunes", "expected a call of run.prune")),
    ("keeps all", f"{MASKS}run.prune(pruners.Step({{}}, masks))", ("keeps", "at sparsity 0.9", "exact=False")),
    ("prunes too much", sound("rule").replace("run.config.sparsity", "0.99"), ("keeps", "at sparsity 0.9", "exact=False")),
    ("prunes too little", sound("rule").replace("run.config.sparsity", "0.8"), ("keeps", "expected", "exact=False")),
    ("prunes all of a layer's names wrongly", f"{MASKS}run.prune(pruners.Step({{}}, {{'no': masks[first]}}))", ("masks are of no, expected of",)),
    ("leaves out a mask", f"{MASKS}del masks[first]\nrun.prune(pruners.Step({{}}, masks))", ("masks are of", "expected of")),
    ("has masks of a wrong shape", f"{MASKS}masks[first] = masks[first][1:]\nrun.prune(pruners.Step({{}}, masks))", ("the mask of", "expected a tensor of shape")),
    ("has masks of real numbers", f"{MASKS}masks[first] = masks[first].float()\nrun.prune(pruners.Step({{}}, masks))", ("torch.float32", "torch.bool")),
    ("has masks that are no tensors", f"{MASKS}masks[first] = [True]\nrun.prune(pruners.Step({{}}, masks))", ("a list", "torch.bool")),
    ("prunes with masks alone", f"{MASKS}run.prune(masks)", ("prunes with a dict", "expected a pruners.Step")),
    ("has new weights of no parameter", f"{PRUNED}run.prune(chosen._replace(weights={{'no': torch.zeros(2)}}))", ("new weights of no are", "expected a parameter")),
    ("has new weights of a wrong shape", f"{PRUNED}run.prune(chosen._replace(weights={{first: torch.zeros(2)}}))", (f"new weights of {FIRST}", "expected a tensor of shape (300, 64)")),
    ("has new weights of whole numbers", f"{PRUNED}run.prune(chosen._replace(weights={{first: chosen.masks[first].long()}}))", ("torch.int64", "of real numbers")),
    ("has new weights that are an array", f"{PRUNED}run.prune(chosen._replace(weights={{first: chosen.masks[first].numpy()}}))", ("a ndarray", "expected a tensor of shape")),
    ("has new weights that are a number", f"{PRUNED}run.prune(chosen._replace(weights={{first: 1.0}}))", ("a float", "expected a tensor of shape")),
    ("has new weights without names", f"{PRUNED}run.prune(chosen._replace(weights=[torch.zeros(2)]))", ("new weights are a list", "expected names")),
    ("masks with a list", "run.mask([1])", ("masks are of a list", "expected of")),
    ("trains beyond the end", f"run.train('dense', run.end + 1)\n{sound('rule')}", ("trains to step 5", "run.end, 4")),
    ("trains to half a step", f"run.train('dense', 0.5)\n{sound('rule')}", ("trains to step 0.5", "whole number")),
    ("trains to text", f"run.train('dense', 'end')\n{sound('rule')}", ("trains to step 'end'", "whole number")),
    ("trains dense beyond the end", "run.dense(10**9)", ("trains to step 1000000000", "whole number")),
    ("trains without a name", "run.train('', run.end)", ("trains under the name ''", "expected a text")),
    ("scores by itself", "run.prune(run.score())", ("run.score", "expected such as")),
    ("calls an unknown move", "run.prun(1)", ("run has no move prun", "prune")),
    ("reads an unknown field", "run.config.no_such_field", ("AttributeError", "no_such_field")),
    ("prunes more without a record", f"{sound('rule')}\nrun.mask({{name: mask & False for name, mask in chosen.masks.items()}})", ("has recorded", "expected run.record")),
):  # fmt: skip
    body = body if "\n" in body else f"{body}"
    text = source("rule", body)
    plain = name in ("never prunes", "does nothing", "keeps all", "prunes too much", "prunes too little", "prunes more without a record")  # fmt: skip
    if plain:
        text = source("rule", body, mark=True)
    else:
        at = next(key for key in ("run.train('dense'", "run.prune(", "run.mask(", "run.train(", "run.dense(", "run.prun(", "run.config.no") if key in text)  # fmt: skip
        text = "\n".join(f"{line}  # HERE" if at in line and "def " not in line else line for line in text.splitlines())  # fmt: skip
    case("rule", name, text, REHEARSED, *words)
case(
    "rule", "never trains", source("rule", sound("rule").replace("\nrun.train('retrain', run.end)", "")), FINE
)
case("rule", "says that it ends elsewhere", source("rule", sound("rule").replace("run.config.sparsity", "0.5")).replace("@rule()", "@rule(exact=False)"), FINE)  # fmt: skip

# Faults that the rehearsal cannot see, as its batches and trainings are smaller.
MORE = ("steps: 6", "batch_size: 50")
for kind, body in {
    "criterion": "if len(probe.batches[0][0]) > 8: raise ValueError('late')  # HERE\n" + sound("criterion"),
    "rule": "if run.end > 4: raise ValueError('late')  # HERE\n" + sound("rule"),
    "loss": "if len(outputs) > 64: raise ValueError('late')  # HERE\n" + sound("loss"),
    "metrics": "if len(outputs) > 64: raise ValueError('late')  # HERE\n" + sound("metrics"),
    "optimizer": "if settings.batch_size > 8: raise ValueError('late')  # HERE\n" + sound("optimizer"),
    "lr_schedule": "if settings.steps > 4: raise ValueError('late')  # HERE\n" + sound("lr_schedule"),
    "augment": "if len(images) > 8: raise ValueError('late')  # HERE\n" + sound("augment"),
}.items():
    case(kind, "fails late", source(kind, body), RUN, "ValueError: late", more=MORE)
    for name, error in (("exits", "sys.exit(3)"), ("interrupts", "raise KeyboardInterrupt"), ("recurses", "sys.modules.pop('recur', None); (lambda f: f(f))(lambda f: f(f))")):  # fmt: skip
        case(kind, f"{name} late", source(kind, body.replace("raise ValueError('late')", error)), RUN, {"exits": "SystemExit", "interrupts": "KeyboardInterrupt", "recurses": "RecursionError"}[name], more=MORE)  # fmt: skip
for kind, body, words in (
    ("loss", "if len(outputs) > 64: return outputs\n" + sound("loss"), ("expected a tensor of one number",)),
    ("metrics", "if len(outputs) > 64: return 'x'\n" + sound("metrics"), ("expected a number",)),
    ("optimizer", "if settings.batch_size > 8: return None\n" + sound("optimizer"), ("expected a torch.optim.Optimizer",)),
    ("lr_schedule", "if settings.steps > 4: return math.nan\n" + sound("lr_schedule"), ("nan", "expected a finite number")),
    ("augment", "if len(images) > 8: return images[1:]\n" + sound("augment"), ("expected a tensor",)),
    ("criterion", "if len(probe.batches[0][0]) > 8: return {}\n" + sound("criterion"), ("gives no scores",)),
    ("loss", "if len(outputs) == 50: torch.set_grad_enabled(False)\n" + sound("loss"), ("gradient",)),
    ("optimizer", "if settings.batch_size > 8: torch.set_default_dtype(torch.float64)\n" + sound("optimizer"), ("default dtype",)),
):  # fmt: skip
    case(kind, f"goes wrong late with {words[0]}", source(kind, body, mark=True), RUN, *words, more=MORE)

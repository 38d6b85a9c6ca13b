"""Our training loop against a plain one: DataLoader, default memory format, mask after each step.

Both normalize the same images from bytes and add up the loss; of a text both take its bytes. And ours in a process that keeps its memory, as
workers do, against one that does not. And a network that is made smaller, against the same one masked. And the
update of a decoder's weights for its masks, in training steps.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import pruners
from benchmarks.timing import seconds
from sweep import data, models
from sweep.config import Config
from sweep.data import Data
from sweep.engine import malloc
from sweep.trial.prefixes import Shared
from sweep.trial.stages import Stages
from sweep.trial.training import Training

_GENESIS = (("dataset.book", "Genesis"),)


def _built(config: Config) -> tuple[Data, nn.Module]:
    """The data of a config, and its network."""
    whole = data.load(config.dataset, Path("data"), 0.1, 0, arguments=config.arguments("dataset"))
    form = whole.form
    return whole, models.build(config.model, form.shape, whole.classes, 0, config.init, dtype=form.dtype)


def compare(dataset: str, model: str, rounds: int, steps: int, **fields: Any) -> None:
    """Print how long so many steps take either way; the same inputs in each."""
    config = Config(dataset=dataset, model=model, criterion="random", sparsity=0.9, epochs=1000, **fields)
    whole, network = _built(config)
    masks = pruners.prune("random", network, sparsity=0.9)
    training = Training(config, network, data.to(whole, torch.device("cpu")))
    training.mask(masks)

    plain = _built(config)[1].to(memory_format=torch.contiguous_format)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    rows = torch.arange(min(len(whole.train), steps * config.batch_size))
    some = whole.train.take(rows)
    pairs = TensorDataset(some.images.contiguous(), some.labels)
    loader = DataLoader(pairs, config.batch_size, shuffle=True, drop_last=True)

    def prepared(images: Tensor) -> Tensor:
        return images.long() if whole.mean is None else (images.float() - whole.mean) / whole.deviation

    def theirs() -> float:
        plain.train()
        total = 0.0
        for images, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(plain(prepared(images)), labels)
            loss.backward()
            optimizer.step()
            pruners.apply_masks(plain, masks)
            total += loss.item()
        return total / len(loader)

    def ours() -> None:
        list(training.run(training.step + len(loader)))

    seconds(ours), seconds(theirs)
    measured = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    mine, other = (median(column) for column in zip(*measured, strict=True))
    print(
        f"training, {model} on {dataset}, one thread, {len(loader)} steps: {mine * 1e3:.0f} ms, "
        f"plain loop {other * 1e3:.0f} ms: {median(b / a for a, b in measured):.2f} times faster "
        f"(median of {rounds} pairs)"
    )


def shrunk(dataset: str, model: str, rounds: int, steps: int) -> None:
    """Print how many steps a second a network trains of which 75 % of the channels are removed, and masked."""
    fields = {"scope": "uniform", "structure": "channel", "sparsity": 0.75, "epochs": 1000}
    config = Config(dataset=dataset, model=model, criterion="random", **fields)
    trainings = []
    for shrink in (True, False):
        stages = Stages(replace(config, shrink=shrink), data.load(dataset, Path("data"), 0.1, 0), Shared())
        stages.prune(stages.score(), measured=False)
        stages.resume(reinit=False)
        trainings.append(stages.training)

    def timed(training: Training) -> float:
        return seconds(lambda: list(training.run(training.step + steps)))

    for training in trainings:
        timed(training)
    measured = [[timed(training) for training in trainings] for _ in range(rounds)]
    small, masked = (steps / median(column) for column in zip(*measured, strict=True))
    print(
        f"training, {model} on {dataset}, 75 % of the channels removed, one thread: {small:.3g} steps a second "
        f"shrunk, {masked:.3g} masked: {median(b / a for a, b in measured):.2f} times faster "
        f"(median of {rounds} pairs)"
    )


def compensating(rounds: int) -> None:
    """Print how long the update of a decoder's weights for its masks takes, and a step of its training."""
    config = Config(
        dataset="text:kjv", model="gpt-tiny", init="gpt", criterion="wanda", scope="rowwise", sparsity=0.5,
        steps=1000, batch_size=32, compensate="obs", layers="* !head.*", parameters=_GENESIS,
    )  # fmt: skip
    whole = data.load(config.dataset, Path("data"), 0.1, 0, arguments=config.arguments("dataset"))
    stages = Stages(config, whole, Shared())
    chosen = stages.score()

    def step() -> None:
        list(stages.training.run(stages.training.step + 1))

    def update() -> None:
        stages.compensated(chosen)

    step(), update()
    pairs = [(seconds(update), seconds(step)) for _ in range(rounds)]
    updating, training = (median(column) for column in zip(*pairs, strict=True))
    print(
        f"training, gpt-tiny on text:kjv, one thread: compensate obs by 128 windows {updating * 1e3:.0f} ms, a "
        f"training step of 32 windows {training * 1e3:.0f} ms: {median(a / b for a, b in pairs):.0f} steps "
        f"(median of {rounds} pairs)"
    )


def alone(model: str, steps: int) -> None:
    """Print the seconds that training steps take in this process, and evaluating the test images."""
    config = Config(dataset="mnist", model=model, criterion="random", sparsity=0.9, epochs=1000)
    whole = data.load("mnist", Path("data"), 0.1, 0)
    training = Training(config, models.build(model, whole.shape, whole.classes, 0), whole)

    def train() -> None:
        list(training.run(training.step + steps))

    def evaluate() -> None:
        training.evaluate(whole.test)

    train(), evaluate()
    print(seconds(train), seconds(evaluate))


def keeping(model: str, rounds: int, steps: int) -> None:
    """Print what it is worth to keep memory."""

    def timed(how: str) -> list[float]:
        command = [sys.executable, "-m", "benchmarks.training", how, model, str(steps)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        return [float(word) for word in answer.stdout.split()]

    pairs = [(timed("keep"), timed("release")) for _ in range(rounds)]
    train, evaluate = (median(b[n] / a[n] for a, b in pairs) for n in (0, 1))
    print(
        f"training, {model} on mnist, memory of a batch kept for the next: {train:.2f} times faster training, "
        f"{evaluate:.2f} times faster evaluation (median of {rounds} pairs of processes)"
    )


def main() -> None:
    torch.set_num_threads(1)
    compare("digits", "conv-5", rounds=5, steps=10)
    shrunk("digits", "conv-5", rounds=9, steps=20)
    text: dict[str, Any] = {"init": "gpt", "batch_size": 32, "parameters": _GENESIS}
    compare("text:kjv", "gpt-tiny", rounds=25, steps=5, **text)
    compensating(rounds=5)
    if Path("data/MNIST").exists():
        compare("mnist", "lenet-5-caffe", rounds=3, steps=40)
        keeping("lenet-5-mini", rounds=5, steps=100)
        keeping("lenet-5-caffe", rounds=5, steps=40)
        shrunk("mnist", "conv-5", rounds=5, steps=5)
    else:
        print("training, LeNets on mnist: not measured, MNIST is not under data/")
    if Path("data/cifar10").exists():
        shrunk("cifar10", "resnet-20", rounds=5, steps=4)
    else:
        shrunk("digits", "resnet-20", rounds=5, steps=10)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["keep" | "release" as how, model, steps]:
            torch.set_num_threads(1)
            assert how == "release" or malloc.keep()
            alone(model, int(steps))
        case _:
            main()

"""Scoring against the bare passes it is made of, on one thread."""

from collections.abc import Callable
from functools import partial
from itertools import accumulate
from statistics import median

import torch
import torch.nn.functional as F
from torch import nn
from torch.profiler import profile
from torchvision.models import resnet18

import pruners
from benchmarks.timing import seconds
from sweep import models

_ROUNDS = 3


def ratio(ours: Callable[[], object], bare: Callable[[], object], rounds: int = _ROUNDS) -> float:
    """Median of the ratios of pairs run in turn, after one of each to warm up."""
    ours(), bare()
    return median(seconds(ours) / seconds(bare) for _ in range(rounds))


def resnet_18_on_cifar(batch: int) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    model = resnet18(num_classes=10)
    model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return model, torch.randn(batch, 3, 32, 32), torch.randint(0, 10, (batch,))


def force_on_resnet_18(iterations: int = 4, batch: int = 128) -> None:
    model, inputs, targets = resnet_18_on_cifar(batch)
    weights = list(pruners.prunable(model).values())

    def bare() -> None:
        for _ in range(iterations):
            torch.autograd.grad(F.cross_entropy(model(inputs), targets), weights)

    def force() -> None:
        pruners.prune("force", model, [(inputs, targets)], sparsity=0.99, iterations=iterations)

    print(
        f"scoring, FORCE on ResNet-18, CIFAR shapes, batch {batch}: {ratio(force, bare, 1):.2f} times "
        f"as long as {iterations} bare gradient passes"
    )


def six_criteria_at_once() -> None:
    model = models.build("conv-5", (1, 28, 28), 10, 0)
    batches = [(torch.randn(128, 1, 28, 28), torch.randint(0, 10, (128,)))]
    six = ["snip", "iter-snip", "force", "grad-norm", "grasp-it", "magnitude"]
    cost = ratio(
        lambda: pruners.saliencies(six, model, batches), lambda: pruners.saliency("snip", model, batches)
    )
    print(f"scoring, {', '.join(six)} of the same batch together: {cost:.2f} times as long as SNIP alone")


def per_sample_fisher(side: int) -> None:
    model = models.build("conv-5", (1, side, side), 10, 0)
    inputs, targets = torch.randn(256, 1, side, side), torch.randint(0, 10, (256,))
    weights = list(pruners.prunable(model).values())

    def loop() -> None:
        model.eval()
        total = [torch.zeros_like(weight) for weight in weights]
        for i in range(256):
            loss = F.cross_entropy(model(inputs[i : i + 1]), targets[i : i + 1])
            for sum_, gradient in zip(total, torch.autograd.grad(loss, weights), strict=True):
                sum_ += gradient.square()

    together = ratio(loop, lambda: pruners.saliency("fisher-diagonal", model, [(inputs, targets)]))
    print(
        f"scoring, Fisher of 256 samples on conv-5, {side}×{side}: "
        f"{together:.2f} times faster than a loop over samples"
    )


def peak(work: Callable[[], object]) -> int:
    """Most bytes of tensors alive at once while it works, of those it makes."""
    with profile(profile_memory=True) as profiled:
        work()
    allocations = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
    allocations.sort(key=lambda event: event.start_ns())
    return max(accumulate(event.nbytes() for event in allocations))


def memory(batch: int = 64) -> None:
    model, inputs, targets = resnet_18_on_cifar(batch)

    def step() -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

    whole = peak(step)
    model.zero_grad()
    shares = {}
    for name in ("snip", "force", "synflow", "wanda", "lrp", "fts", "grasp"):
        work = partial(pruners.prune, name, model, [(inputs, targets)], sparsity=0.9, iterations=2)
        shares[name] = peak(work) / whole
    print(
        f"scoring, peak memory of two iterations on ResNet-18, batch {batch}, in that of a training step: "
        + ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
    )


def main() -> None:
    torch.set_num_threads(1)
    six_criteria_at_once()
    per_sample_fisher(8)
    per_sample_fisher(28)  # where arithmetic is all there is, and both do the same
    force_on_resnet_18()
    memory()


if __name__ == "__main__":
    main()

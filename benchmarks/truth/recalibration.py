"""Loss right after pruning: with fresh statistics it is that of a pass written out, and the network is left as it was."""

import copy
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

import pruners
from benchmarks.truth.table import Row
from sweep import data, models
from sweep.config import Config
from sweep.trial.training import Training


def rows(replications: int) -> Iterator[Row]:
    torch.set_num_threads(1)
    config = Config(
        dataset="digits", model="conv-5", criterion="random", sparsity=0.5, epochs=2, batch_size=64
    )
    digits = data.to(data.load("digits", "data", 0.1, 0), torch.device("cpu"))
    dense = Training(config, models.build("conv-5", digits.shape, digits.classes, seed=1), digits)
    list(dense.run(dense.end))
    trained = dense.snapshot()
    right = kept = 0
    for number in range(replications):
        dense.model.load_state_dict(trained)
        sparsity = 0.5 + 0.45 * number / replications
        dense.mask(pruners.prune("random", dense.model, sparsity=sparsity, seed=number))
        before = dense.snapshot()
        with dense.recalibrated():
            loss, _ = dense.evaluate(digits.train)
        right += math.isclose(loss, _written_out(dense), rel_tol=1e-3)
        kept += all(torch.equal(tensor, before[name]) for name, tensor in dense.snapshot().items())
    planted = "random masks of a trained conv-5, sparsity .5 to .95"
    yield Row(4, "the loss is that of a pass written out", planted, "at least", 1.0, right, replications)
    yield Row(4, "weights and statistics are left as they were", planted, "at least", 1.0, kept, replications)


def _written_out(training: Training) -> float:
    """Training loss with the mean and variance of all activations at once, layer by layer."""
    network = copy.deepcopy(training.model).eval()
    images, labels = training.data.train.images, training.data.train.labels

    def whole(layer: nn.Module, inputs: tuple[torch.Tensor], _: torch.Tensor) -> torch.Tensor:
        return F.batch_norm(inputs[0], None, None, layer.weight, layer.bias, training=True, eps=layer.eps)

    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.register_forward_hook(whole)
    with torch.inference_mode():
        return float(F.cross_entropy(network(training.data.inputs(images)), labels))

import pytest
import torch

import pruners
from sweep import models
from sweep.errors import BadInput


@pytest.mark.parametrize(
    ("name", "weights", "parameters"),
    [
        # Lee et al. 2019, table 1: 267k and 431k parameters.
        ("lenet-300-100", 266_200, 266_610),
        ("lenet-5-caffe", 430_500, 431_080),
        ("conv-5", 97_552, 98_042),
    ],
)
def test_sizes_on_mnist_shapes(name, weights, parameters):
    model = models.build(name, (1, 28, 28), 10, seed=0)
    assert sum(w.numel() for w in pruners.prunable(model).values()) == weights
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize("name", models.MODELS)
def test_the_smallest_image_works_and_a_smaller_one_is_refused(name):
    smallest = models.MODELS[name].smallest
    assert models.build(name, (3, smallest, smallest), 4, 0).eval()(
        torch.zeros(1, 3, smallest, smallest)
    ).shape == (1, 4)
    if smallest > 1:
        with pytest.raises(BadInput, match=f"at least {smallest}×{smallest}"):
            models.build(name, (3, smallest - 1, 32), 4, 0)


def test_initialization_depends_on_the_seed_alone_and_leaves_the_global_state():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = models.build("conv-5", (1, 8, 8), 10, seed=7).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    second = models.build("conv-5", (1, 8, 8), 10, seed=7).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(
        first["0.weight"], models.build("conv-5", (1, 8, 8), 10, 8).state_dict()["0.weight"]
    )


def test_weights_are_kaiming_normal_and_biases_zero():
    model = models.build("lenet-300-100", (1, 28, 28), 10, seed=0)
    assert model[1].weight.std().item() == pytest.approx((2 / 784) ** 0.5, rel=0.01)
    assert all(not layer.bias.any() for layer in model if isinstance(layer, torch.nn.Linear))

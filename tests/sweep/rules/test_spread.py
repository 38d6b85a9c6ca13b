import pytest
from torch import nn

import pruners
from sweep.config import Config
from sweep.engine.preflight import check_here
from sweep.errors import BadInput
from sweep.rules import find
from sweep.rules.spread import scope
from sweep.study.identity import Trial


@pytest.fixture
def net():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 3))


def config(**fields):
    base = {"dataset": "digits", "model": "conv-5", "criterion": "magnitude", "sparsity": 0.5, "epochs": 1}
    return Config(**base | fields)


def test_the_first_pattern_that_matches_a_layer_is_its_density(net):
    given = config(densities="1.*=0.2 *=0.4 ")
    assert scope(given, net, []) == {"0.weight": 0.4, "1.weight": 0.2, "2.weight": 0.4}
    assert scope(given, net, ["0.weight"]) == {"1.weight": 0.2, "2.weight": 0.4}
    assert scope(config(scope="erk"), net, []) == "erk"


@pytest.mark.parametrize(
    ("densities", "why"),
    [
        ("0.*=0.5 2.*=0.5", r"densities: 1\.weight of conv-5 has none: add its pattern, or '\*=0\.1'"),
        ("*=0.5 2.*=0.1", r"densities 2\.\*: no layer of conv-5 is left for it"),
        ("3.*=0.5 *=0.1", r"densities 3\.\*: no layer of conv-5 is left for it"),
    ],
)
def test_a_layer_without_a_density_and_a_pattern_without_a_layer_are_refused(densities, why, net):
    with pytest.raises(BadInput, match=why):
        scope(config(densities=densities), net, [])
    with pytest.raises(BadInput, match=why):
        find("magnitude").check(config(densities=densities), net, [])


def test_densities_that_leave_too_few_weights_are_refused_before_the_launch(net):
    with pytest.raises(BadInput, match="conv-5: layer densities: layers of density 0 would have to keep"):
        find("magnitude").check(config(densities="2.*=1 *=0"), net, [])


def test_counts_add_up_and_densities_of_a_scope_give_its_counts(net):
    weights = pruners.prunable(net)
    total = sum(weight.numel() for weight in weights.values())
    for sparsity in (0.3, 0.77, 0.9):
        by_scope = pruners.prune("magnitude", net, sparsity=sparsity, scope="erk")
        shares = {name: sum(weight.shape) / weight.numel() / 10 for name, weight in weights.items()}
        text = " ".join(f"{name}={share!r}" for name, share in shares.items())
        given = scope(config(densities=text, sparsity=sparsity), net, [])
        masks = pruners.prune("magnitude", net, sparsity=sparsity, scope=given)
        assert sum(int(mask.sum()) for mask in masks.values()) == pruners.kept_count(total, sparsity)
        assert all((masks[name] == mask).all() for name, mask in by_scope.items())


def test_a_launch_refuses_densities_that_are_not_of_the_network():
    good, bad = (Trial.of(config(densities=text)) for text in ("0.*=1 *=0.1", "conv*=1 *=0.1"))
    check_here([good], "data", 0, False)
    with pytest.raises(BadInput, match=r"densities conv\*: no layer of conv-5 is left for it"):
        check_here([good, bad], "data", 0, False)

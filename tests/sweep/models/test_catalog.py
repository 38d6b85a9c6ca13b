import pytest
import torch
from torch import nn

import pruners
from pruners.structured import norms_behind
from sweep import models
from sweep.errors import BadInput

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)


def on_meta(name, shape, classes=10):
    """The network without memory or arithmetic."""
    with torch.device("meta"):
        return models.find(name).build(shape, classes)


def weights(model):
    return sum(weight.numel() for weight in pruners.prunable(model).values())


def affine(model):
    """Weights and biases of convolutions and linear layers, as the code of SNIP counts them."""
    layers = [each for each in model.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
    return sum(p.numel() for layer in layers for p in layer.parameters())


def trained(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def outside_shortcuts(model):
    return sum(p.numel() for name, p in model.named_parameters() if "downsample" not in name)


# Decoders of text: tests/sweep/models/test_decoders.py.
IMAGE_MODELS = [name for name, model in models.MODELS.items() if model.inputs != "tokens"]
# What the source counts, its number, and our number of prunable weights. SNIP: Lee et al. 2019, tables 1 and 2.
SIZES = {
    "lenet-300-100": (MNIST, affine, "267k", 266_200),  # SNIP
    "lenet-5-caffe": (MNIST, affine, "431k", 430_500),  # SNIP
    "lenet-5-mini": (MNIST, trained, 5_500, 5_450),  # sum over the layers of Feng et al.'s model/lenet5.py
    "conv-5": (MNIST, trained, 98_042, 97_552),  # our own
    "alexnet-s": (CIFAR, affine, "5.1M", 5_066_784),  # SNIP
    "alexnet-b": (CIFAR, affine, "8.5M", 8_484_896),  # SNIP
    "vgg-16": (CIFAR, trained, 14_728_266, 14_715_584),  # FTS, models/cifar/vgg.py
    "vgg-19": (CIFAR, trained, 20_040_522, 20_024_000),  # FTS: reference.md 1.1
    "vgg-c": (CIFAR, affine, "10.5M", 10_521_280),  # SNIP
    "vgg-d": (CIFAR, affine, "15.2M", 15_239_872),  # SNIP
    "vgg-like": (CIFAR, affine, "15.0M", 14_977_728),  # SNIP
    "resnet-18": (CIFAR, trained, 11_173_962, 11_164_352),  # FTS: reference.md 1.1
    "resnet-34": (CIFAR, trained, 21_282_122, 21_265_088),  # FTS, models/cifar/resnet.py
    "resnet-50": (CIFAR, trained, 23_520_842, 23_467_712),  # FTS, models/cifar/resnet.py
    "resnet-20": (CIFAR, weights, 270_896, 270_896),  # reference.md 3.4
    "resnet-32": (CIFAR, outside_shortcuts, "0.46M", 464_432),  # He et al. 2016, table 6
    "resnet-56": (CIFAR, outside_shortcuts, "0.85M", 851_504),  # He et al. 2016, table 6
    # SNIP prints 10.0M, but leaves 548k at 95 % sparsity: it is 5 % of 10.96M, as Zagoruyko & Komodakis's 11.0M.
    "wrn-16-8": (CIFAR, trained, "11.0M", 10_954_160),
    "wrn-16-10": (CIFAR, trained, "17.1M", 17_107_632),  # SNIP
    "wrn-22-8": (CIFAR, trained, "17.2M", 17_147_312),  # SNIP
    "lstm-s": (MNIST, trained, "137k", 135_936),  # SNIP
    "lstm-b": (MNIST, trained, "535k", 534_016),  # SNIP
    "gru-s": (MNIST, trained, "104k", 103_168),  # SNIP
    "gru-b": (MNIST, trained, "404k", 402_944),  # SNIP
    # DeiT-Ti has 5,717,416 with patches of 16×16, 197 positions and 1000 classes; ours are 4×4, 65 and 10.
    "vit-tiny": (CIFAR, trained, 5_717_416 - 192 * (3 * (256 - 16) + 197 - 65) - 193 * 990, 3_992_448),
}
# Of SNIP's table 2, weights left at the sparsity it prints: finer than the sizes before.
LEFT = {
    "alexnet-s": ("0.1", "507k"),
    "alexnet-b": ("0.1", "849k"),
    "vgg-c": ("0.05", "526k"),
    "vgg-d": ("0.05", "762k"),
    "vgg-like": ("0.03", "449k"),
    "wrn-16-8": ("0.05", "548k"),
    "wrn-16-10": ("0.05", "856k"),
    "wrn-22-8": ("0.05", "858k"),
    "lstm-s": ("0.05", "6.8k"),
    "lstm-b": ("0.05", "26.8k"),
    "gru-s": ("0.05", "5.2k"),
    "gru-b": ("0.05", "20.2k"),
}


def rounded(count, printed):
    """A count as precisely as it was printed."""
    digits = len(printed[:-1].partition(".")[2])
    return f"{count / {'k': 1e3, 'M': 1e6}[printed[-1]]:.{digits}f}{printed[-1]}"


def test_every_model_has_its_size_listed():
    assert list(SIZES) == IMAGE_MODELS


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_those_of_the_papers(name):
    shape, counted, size, prunable = SIZES[name]
    model = on_meta(name, shape)
    assert weights(model) == prunable
    assert (rounded(counted(model), size) if isinstance(size, str) else counted(model)) == size
    if name in LEFT:
        density, left = LEFT[name]
        assert rounded(counted(model) * float(density), left) == left


@pytest.mark.slow
@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_the_output_is_one_row_of_scores_an_image_training_or_not(name):
    model = on_meta(name, SIZES[name][0], 7)
    for training in (True, False):
        assert model.train(training)(torch.zeros(3, *SIZES[name][0], device="meta")).shape == (3, 7)


@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_the_smallest_image_works_and_a_smaller_one_is_refused(name):
    smallest = models.MODELS[name].smallest
    shape = (2, smallest, smallest)
    models.check(name, shape)
    assert on_meta(name, shape, 4).eval()(torch.zeros(1, *shape, device="meta")).shape == (1, 4)
    if smallest > 1:
        with pytest.raises(BadInput, match=f"{name} needs images of at least {smallest}×{smallest} pixels"):
            models.build(name, (2, smallest - 1, 64), 4, 0)


# Sides that leave nowhere but padding to no weight; the last convolution of AlexNet is at fault on 32×32.
SIDES = {"lenet-300-100": 3, "lenet-5-caffe": 16, "lenet-5-mini": 28, "conv-5": 5, "alexnet-s": 33}
SIDES |= dict.fromkeys(("vgg-c", "vgg-d", "vgg-like"), 17) | dict.fromkeys(("vgg-16", "vgg-19"), 32)
SIDES |= dict.fromkeys(("resnet-18", "resnet-34", "resnet-50"), 9)
SIDES |= dict.fromkeys(("resnet-20", "resnet-32", "resnet-56", "wrn-16-8", "wrn-22-8"), 5)
SIDES |= dict.fromkeys(("lstm-s", "lstm-b", "gru-s", "gru-b"), 3) | {"vit-tiny": 8}


def effective(model, shape):
    masks = {name: torch.ones_like(w, dtype=torch.bool) for name, w in pruners.prunable(model).items()}
    return pruners.effective_masks(model, masks, torch.zeros(1, *shape))


@pytest.mark.slow
@pytest.mark.parametrize("name", SIDES)
def test_every_weight_of_a_dense_network_is_effective(name):
    shape = (3, SIDES[name], SIDES[name])
    found = effective(models.MODELS[name].build(shape, 4), shape)
    assert all(mask.all() for mask in found.values())


def test_some_weights_of_alexnet_only_meet_the_padding():
    found = effective(models.MODELS["alexnet-s"].build(CIFAR, 4), CIFAR)
    # A kernel of 3×3 on a map of 2×2, of which two rows and two columns are inside.
    assert {n: int((~m).sum()) for n, m in found.items() if not m.all()} == {"12.weight": 5 * 384 * 256}


def test_initialization_depends_on_the_seed_alone_and_leaves_the_global_state():
    for name, shape in (("conv-5", (1, 8, 8)), ("lstm-s", (1, 4, 4)), ("vit-tiny", (1, 8, 8))):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        first = models.build(name, shape, 10, seed=7).state_dict()
        assert torch.equal(before, torch.get_rng_state())
        torch.manual_seed(2)
        second = models.build(name, shape, 10, seed=7).state_dict()
        assert all(torch.equal(first[key], second[key]) for key in first)
        other = models.build(name, shape, 10, seed=8)
        assert all(not torch.equal(first[key], w) for key, w in pruners.prunable(other).items())


# Standard deviation by fan-in and fan-out; a normal distribution cut at two of them has 0.8796 of one left.
DEVIATIONS = {
    "kaiming": lambda fan_in, fan_out: (2 / fan_in) ** 0.5,
    "lecun": lambda fan_in, fan_out: (1 / fan_in) ** 0.5,
    "xavier": lambda fan_in, fan_out: (2 / (fan_in + fan_out)) ** 0.5,
    "normal": lambda fan_in, fan_out: 0.1,
    "truncated-normal": lambda fan_in, fan_out: 0.08796,
    "torch": lambda fan_in, fan_out: (1 / (3 * fan_in)) ** 0.5,
    "signed-constant": lambda fan_in, fan_out: (2 / fan_in) ** 0.5,
    "gpt": lambda fan_in, fan_out: 0.02,
}


@pytest.mark.parametrize("init", models.INITIALIZATIONS)
def test_initializations(init):
    expected = DEVIATIONS[init]
    dense = models.build("lenet-300-100", MNIST, 10, 0, init)[1].weight
    conv = models.build("resnet-20", (3, 8, 8), 10, 0, init).layer3[2].conv2.weight
    lstm = models.build("lstm-s", (3, 8, 8), 10, 0, init).cell
    gates = [g for w in (lstm.weight_ih_l0, lstm.weight_hh_l0) for g in w.chunk(4)]
    attention = models.build("vit-tiny", (3, 8, 8), 10, 0, init).encoder.layers[0].self_attention
    cases = [(dense, 784, 300), (conv, 9 * 64, 9 * 64), *((gate, 128, 128) for gate in gates)]
    cases += [(part, 192, 192) for part in attention.in_proj_weight.chunk(3)]
    for weight, fan_in, fan_out in cases:
        assert weight.std().item() == pytest.approx(expected(fan_in, fan_out), rel=0.03)
        assert abs(weight.mean().item()) < 0.03 * expected(fan_in, fan_out)
        if init == "truncated-normal":
            assert 0.19 < weight.abs().max() <= 0.2
        if init == "signed-constant":
            size = expected(fan_in, fan_out)
            assert weight.unique().tolist() == pytest.approx([-size, size])
        if init == "lecun":
            assert weight.abs().max() <= 2.28 * expected(fan_in, fan_out), "cut"


@pytest.mark.slow
def test_biases_start_at_zero_but_those_of_gates():
    for name in ("lenet-5-caffe", "alexnet-s", "resnet-18", "vit-tiny"):
        model = models.build(name, CIFAR, 10, 0)
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                assert not layer.bias.any()
            if isinstance(layer, nn.BatchNorm2d | nn.LayerNorm):
                assert (layer.weight == 1).all()
                assert not layer.bias.any()
    lstm, gru = (models.build(name, MNIST, 10, 0).cell for name in ("lstm-s", "gru-s"))
    assert [b.unique().tolist() for b in (lstm.bias_ih_l0 + lstm.bias_hh_l0).chunk(4)] == [[0], [1], [0], [0]]
    assert [b.unique().tolist() for b in gru.bias_ih_l0.chunk(3)] == [[1], [1], [0]]
    assert not gru.bias_hh_l0.any()


def test_the_default_initialization_draws_layer_by_layer():
    found = models.build("conv-5", (1, 8, 8), 10, seed=3)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(3)
        expected = models.MODELS["conv-5"].build((1, 8, 8), 10)
        for layer in expected:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    assert all(
        torch.equal(weight, pruners.prunable(found)[name])
        for name, weight in pruners.prunable(expected).items()
    )


@pytest.mark.parametrize(
    ("name", "shape"), [("vgg-d", (3, 16, 16)), ("resnet-20", (1, 8, 8)), ("gru-s", (2, 5, 7))]
)
def test_gradients_reach_every_trained_parameter(name, shape):
    model = models.build(name, shape, 3, 0)
    model(torch.randn(4, *shape)).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", ["lstm-s", "gru-s"])
def test_recurrent_networks_read_all_channels_of_a_row_at_a_step(name):
    model = models.build(name, (2, 5, 7), 3, 0).eval()
    images = torch.randn(4, 2, 5, 7)
    steps = torch.stack([images[:, :, row].reshape(4, 14) for row in range(5)], 1)
    expected = model.head(model.cell(model.rows(steps))[0][:, 4])
    torch.testing.assert_close(model(images), expected)
    torch.testing.assert_close(model(images.contiguous(memory_format=torch.channels_last)), expected)


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("name", ["alexnet-s", "vgg-c", "vgg-like"])
def test_networks_of_snip_leave_one_position_of_32_and_of_64_pixels(name, side):
    model = on_meta(name, (3, side, side)).eval()
    assert weights(model) == SIZES[name][3]
    before = model[: [type(layer) for layer in model].index(nn.AdaptiveAvgPool2d)]
    assert before(torch.zeros(1, 3, side, side, device="meta")).shape[2:] == (1, 1)


@pytest.mark.parametrize("shape", [(3, 30, 30), (3, 32, 28), (1, 2, 2)])
def test_a_transformer_refuses_images_it_cannot_cut(shape):
    with pytest.raises(BadInput, match=r"vit-tiny needs .* choose another model or dataset"):
        models.check("vit-tiny", shape)


@pytest.mark.parametrize("name", ["mobilenet_v2", "googlenet"])
def test_networks_of_torchvision(name):
    model = models.build(f"torchvision:{name}", CIFAR, 7, 0)
    assert model(torch.zeros(2, *CIFAR)).shape == (2, 7)
    assert all(
        not p.any() for n, p in model.named_parameters() if n.endswith(("fc.bias", "classifier.1.bias"))
    )


def test_networks_of_torchvision_refuse_images_they_do_not_take():
    for name, shape in (("alexnet", CIFAR), ("resnet18", MNIST), ("vit_b_16", CIFAR)):
        with pytest.raises(BadInput) as error:
            models.build(f"torchvision:{name}", shape, 10, 0)
        size = "×".join(map(str, shape))
        assert str(error.value).startswith(f"torchvision:{name} does not take images of {size} (")
        assert "\n" not in str(error.value)
    models.check("torchvision:regnet_x_400mf", CIFAR)  # which cannot be built without memory


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("torchvision:resnet19", "did you mean torchvision:resnet18"),
        ("resnet101", "did you mean torchvision:resnet101"),
        ("vgg_d", "did you mean vgg-d"),
        ("torchvision:fasterrcnn_resnet50_fpn", "no such model: torchvision:faster"),
        ("perceptron-9000", "known: lenet-300-100, "),
    ],
)
def test_an_unknown_model_is_refused_with_its_nearest(name, meant):
    with pytest.raises(BadInput, match=meant):
        models.check(name, CIFAR)


@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_the_catalog_says_which_networks_have_a_normalization_of_one_layers_outputs(name):
    """Trials that remove filters of these networks have a protocol of their own."""
    shape = (1, 28, 28) if name.startswith(("lstm", "gru", "lenet")) else CIFAR
    found = norms_behind(on_meta(name, shape), torch.zeros(1, *shape, device="meta"))
    assert bool(found) == models.has_norms_alone(name)


def test_networks_outside_the_catalog_may_have_such_a_normalization():
    assert models.has_norms_alone("torchvision:resnet18") and models.has_norms_alone(
        "mine.py:net@0123456789ab"
    )

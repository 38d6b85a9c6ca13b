from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruners.scopes import SCOPES, balanced, er, erk, igq, per_filter, proportional, pyramid, uniform_plus

LENET_300 = {"a": (300, 784), "b": (100, 300), "c": (10, 100)}
LENET_5 = {"a": (20, 1, 5, 5), "b": (50, 20, 5, 5), "c": (500, 800), "d": (10, 500)}


@pytest.mark.parametrize(
    ("shapes", "density", "expected"),
    [
        (LENET_300, 0.10, [0.079568, 0.230189, 1]),
        (LENET_300, 0.05, [0.038484, 0.111334, 0.918507]),
        (LENET_300, 0.01, [0.007697, 0.022267, 0.183701]),
        (LENET_5, 0.10, [1, 0.087072, 0.088433, 1]),
        (LENET_5, 0.05, [0.726116, 0.037477, 0.038063, 1]),
        (LENET_5, 0.01, [0.138943, 0.007171, 0.007283, 0.228584]),
    ],
)
def test_erk_gives_the_published_layer_densities(shapes, density, expected):
    groups = erk(shapes, round(sum(map(prod, shapes.values())) * density))
    for (layers, kept, _), share in zip(groups, expected, strict=True):
        # To the nearest whole weight.
        assert abs(kept - share * prod(shapes[layers[0]])) < 1


@pytest.mark.parametrize(
    ("density", "expected"),
    [
        (0.10, [1, 0.861803, 0.040012, 1]),
        (0.05, [1, 0.413413, 0.019194, 0.602402]),
        (0.01, [1, 0.074817, 0.003474, 0.10902]),
    ],
)
def test_er_leaves_the_kernels_out(density, expected):
    for (layers, kept, _), share in zip(er(LENET_5, round(430_500 * density)), expected, strict=True):
        assert abs(kept - share * prod(LENET_5[layers[0]])) < 1


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (
            43_050,
            [500, 2444, 39_106, 1000],
        ),  # the last layer at a fifth: (43,050 − 1,500) / 425,000 in between
        (215_250, [500, 12_485, 199_767, 2498]),  # half of all: the last layer like those in between
    ],
)
def test_uniform_plus_spares_the_first_convolution_and_the_last_layer(kept, expected):
    counts = [group.kept for group in uniform_plus(LENET_5, kept)]
    assert sum(counts) == kept and counts == pytest.approx(expected, abs=1)


@pytest.mark.parametrize(
    ("shapes", "density", "expected"),
    [
        (LENET_300, 0.10, [0.054464, 0.427, 1]),
        (LENET_300, 0.02, [0.009192, 0.072067, 1]),
        (LENET_5, 0.10, [1, 0.751, 0.046938, 1]),
        (LENET_5, 0.02, [1, 0.108133, 0.006758, 0.540667]),
    ],
)
def test_balanced_gives_every_layer_as_many_weights(shapes, density, expected):
    groups = balanced(shapes, round(sum(map(prod, shapes.values())) * density))
    for (layers, kept, _), share in zip(groups, expected, strict=True):
        assert abs(kept - share * prod(shapes[layers[0]])) < 1


# The same network with a thousand times as many weights in each layer: counts show three more digits.
WIDE = {name: (1000 * outputs, inputs) for name, (outputs, inputs) in LENET_300.items()}


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (igq, [0.0288066, 0.188669, 0.874628]),  # 1 / (1 + f n)
        (pyramid, [0.0561867, 0.0561867**2, 0.0561867**3]),
    ],
)
def test_scopes_with_a_root_give_the_golden_densities(scope, expected):
    for (layers, kept, _), share in zip(scope(WIDE, 13_310_000), expected, strict=True):
        assert kept / prod(WIDE[layers[0]]) == pytest.approx(share, rel=3e-6, abs=1e-6)
    assert [group.kept for group in scope(LENET_300, 13_310)] == pytest.approx(
        [share * prod(shape) for share, shape in zip(expected, LENET_300.values(), strict=True)], abs=1
    )


@pytest.mark.slow
@given(
    st.lists(st.integers(1, 10**6), min_size=2, max_size=8), st.integers(1, 999), st.sampled_from([0, 3, 8])
)
def test_the_root_of_a_scope_is_that_of_its_equation(sizes, permille, digits):
    """Of layers so large that rounding to whole weights is little: one f, or one x, fits all densities."""
    shapes = {f"layer {i}": (size * 10**9,) for i, size in enumerate(sizes)}
    kept = sum(sizes) * 10**6 * permille + digits
    counts = [group.kept for group in igq(shapes, kept)]
    # 1 / (density · n) − 1 / n = f
    each = [1 / count - 1 / (size * 10**9) for count, size in zip(counts, sizes, strict=True)]
    assert sum(counts) == kept and each == pytest.approx([each[0]] * len(sizes), rel=1e-3)
    counts = [group.kept for group in pyramid(shapes, kept)]
    x = counts[0] / (sizes[0] * 10**9)
    for i, (count, size) in enumerate(zip(counts, sizes, strict=True), 1):
        assert count == pytest.approx(size * 10**9 * x**i, rel=1e-6, abs=1)


def test_of_layers_alike_the_earlier_gets_the_odd_weight():
    alike = {"a": (5, 2), "b": (10, 1), "c": (10,)}
    assert [group.kept for group in igq(alike, 16)] == [6, 5, 5]
    assert [group.kept for group in igq(alike, 29)] == [10, 10, 9]
    assert (
        [group.kept for group in igq(alike, 30)] == [group.kept for group in pyramid(alike, 30)] == [10] * 3
    )


def test_per_filter_gives_every_filter_as_many_weights():
    shapes = {"a": (30, 4), "b": (10, 2), "c": (10, 1)}
    assert [group.kept for group in per_filter(shapes, 25)] == [15, 5, 5]
    # 16.8, 5.6 and 5.6: the remainders decide.
    assert [group.kept for group in per_filter(shapes, 28)] == [17, 6, 5]
    # Two or three a filter is more than the last layers have: they are whole.
    assert [group.kept for group in per_filter(shapes, 90)] == [60, 20, 10]
    assert [group.kept for group in per_filter(shapes, 117)] == [87, 20, 10]


def test_given_layer_densities_are_kept_in_proportion():
    assert [g.kept for g in proportional({"a": (10, 10), "b": (20, 10)}, 50, {"a": 0.1, "b": 0.2})] == [
        10,
        40,
    ]
    # The second layer would exceed density 1: it is whole, the rest goes to the first.
    assert [g.kept for g in proportional({"a": (10, 10), "b": (2, 5)}, 50, {"a": 0.1, "b": 0.9})] == [40, 10]
    for densities, message in [
        ({"a": 0.5}, "b has none of at least 0"),
        ({"a": 0.5, "b": float("nan")}, "b has none of at least 0"),
        ({"a": 0, "b": 0.5}, "layers of density 0 would have to keep 40 weights"),
    ]:
        with pytest.raises(ValueError, match=message):
            proportional({"a": (10, 10), "b": (2, 5)}, 50, densities)


shapes = st.dictionaries(
    st.text("abc", min_size=1, max_size=3),
    st.lists(st.integers(1, 9), min_size=2, max_size=4).map(tuple),
    min_size=1,
    max_size=6,
)


@given(st.sampled_from(sorted(SCOPES)), shapes, st.data())
def test_every_scope_keeps_exactly_what_is_asked_and_no_more_than_a_layer_has(scope, shapes, data):
    total = sum(map(prod, shapes.values()))
    kept = data.draw(st.integers(1, total))
    try:
        groups = SCOPES[scope](shapes, kept)
    except ValueError as error:
        assert scope == "uniform-plus" and "fewer than its first and last layer keep" in str(error)
        return
    assert sum(group.kept for group in groups) == kept
    assert sorted(layer for group in groups for layer in group.layers) == sorted(shapes)
    for group in groups:
        assert 0 <= group.kept <= sum(prod(shapes[layer]) for layer in group.layers)

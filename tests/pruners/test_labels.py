import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pruners.labels import FIXED, Classes, Lines


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=15))
def test_classes_are_those_of_the_graph_of_united_labels(count, pairs):
    classes = Classes()
    classes.new(count)
    pairs = [(a % (count + 1), b % (count + 1)) for a, b in pairs]
    expected = {label: {label} for label in range(count + 1)}
    for a, b in pairs:
        changed = classes.unite(torch.tensor([float(a)]), torch.tensor([float(b)]))
        assert changed == (expected[a] is not expected[b])
        both = expected[a] | expected[b]
        expected |= dict.fromkeys(both, both)
    assert classes.roots(torch.arange(count + 1.0)).tolist() == [min(expected[i]) for i in range(count + 1)]


def test_labels_are_united_in_whatever_shapes_they_are_broadcast():
    classes = Classes()
    rows, columns = classes.new(3), classes.new(3)
    classes.unite(rows.view(1, 3), columns.view(1, 3).expand(4, 3))
    assert torch.equal(classes.roots(rows), classes.roots(columns)) and classes.varies(rows, 0)
    classes.fix(columns[:2])
    assert classes.roots(rows).tolist() == [FIXED, FIXED, 3]


def test_demands_wait_for_what_follows():
    """Labels that were of several classes when they were asked for may be of one in the end."""
    classes = Classes()
    same, even, apart = classes.new(2), classes.new(6).view(2, 3), classes.new(2)
    classes.demand_same(same, [0])
    classes.demand_same(apart, [0])
    classes.demand_even(even, [0, 1])
    classes.unite(same[0], same[1])
    classes.unite(even, even[:, :1])  # one class for each head
    classes.settle()
    assert classes.roots(same).tolist() == [1, 1] and classes.roots(apart).tolist() == [FIXED, FIXED]
    assert classes.roots(even).tolist() == [[3] * 3, [6] * 3]


def test_parts_of_a_cut_dimension_lose_the_same():
    classes = Classes()
    labels = classes.new(6).view(2, 3)
    classes.demand_even(labels, [0, 1])
    classes.settle()
    assert classes.roots(labels).tolist() == [[1, 2, 3], [1, 2, 3]]


VIEWS = {
    "itself": (lambda w: w, 0, range(6), 1, range(4)),
    "transposed": (lambda w: w.t(), 1, range(6), 0, range(4)),
    "a part": (lambda w: w.chunk(3)[1], 0, [2, 3], 1, range(4)),
    "columns": (lambda w: w[:, 1:3], 0, range(6), 1, [1, 2]),
    "turned twice": (lambda w: w.t().unflatten(0, (2, 2)).flatten(0, 1).t(), 0, range(6), 1, range(4)),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_lines_of_views_are_lines_of_the_parameter(view, channels_last):
    weight = torch.zeros(6, 4)
    if channels_last:
        weight = torch.zeros(4, 6).t()
    lines = Lines(Classes(), {"other": torch.zeros(9), "weight": weight})
    change, row_dim, rows, column_dim, columns = VIEWS[view]
    found = change(weight)
    assert lines.name(found) == "weight" and lines.name(torch.zeros(3)) is None
    row_labels, column_labels = lines.along(weight, 0), lines.along(weight, 1)
    assert torch.equal(lines.along(found, row_dim), row_labels[list(rows)])
    assert torch.equal(lines.along(found, column_dim), column_labels[list(columns)])


def test_entries_make_a_line_where_all_at_a_position_are_of_one_class():
    classes = Classes()
    table = torch.zeros(5, 3)
    lines = Lines(classes, {"table": table})
    channels = classes.new(3)
    classes.unite(lines.elements(table), channels)
    lines.gather()
    ((line, labels),) = lines.labels.items()
    assert (line.parameter, line.dim) == ("table", 1)
    assert torch.equal(classes.roots(labels), classes.roots(channels))


def test_entries_that_make_no_line_are_fixed():
    classes = Classes()
    table = torch.zeros(2, 2)
    lines = Lines(classes, {"table": table})
    channels = classes.new(2)
    classes.unite(
        lines.elements(table)[0], channels
    )  # the entries at the second place have classes of their own
    lines.gather()
    assert classes.roots(channels).tolist() == [FIXED, FIXED]

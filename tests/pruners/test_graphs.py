from math import sqrt

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pruners import ramanujan_gap


@pytest.mark.parametrize("shape", [(4, 5), (16, 3, 3, 3), (3, 100)])
def test_a_complete_graph_has_no_second_singular_value(shape):
    outputs, inputs = shape[0], int(np.prod(shape[1:]))
    expected = sqrt(outputs - 1) + sqrt(inputs - 1)
    assert ramanujan_gap(torch.ones(shape, dtype=torch.bool)) == pytest.approx(expected, abs=1e-5)


@given(st.integers(0, 99), st.integers(4, 20), st.integers(4, 20), st.floats(0.3, 1))
def test_it_is_the_bound_less_the_third_largest_eigenvalue_of_the_graph(seed, outputs, inputs, density):
    draws = torch.Generator().manual_seed(seed)
    mask = torch.rand(outputs, inputs, generator=draws) < density
    edges = mask.numpy()[mask.numpy().any(1)][:, mask.numpy().any(0)].astype(float)
    found = ramanujan_gap(mask)
    of_inputs, of_outputs = (edges.sum(axis).mean() if edges.size else 0 for axis in (0, 1))
    if min(of_inputs, of_outputs) < 3:
        assert found is None
        return
    rows, columns = edges.shape
    adjacency = np.zeros((rows + columns, rows + columns))
    adjacency[:rows, rows:], adjacency[rows:, :rows] = edges, edges.T
    third = np.sort(np.abs(np.linalg.eigvalsh(adjacency)))[-3]
    assert found == pytest.approx(sqrt(of_inputs - 1) + sqrt(of_outputs - 1) - third, abs=1e-5)


def test_units_without_an_edge_do_not_count():
    mask = torch.zeros(6, 9, dtype=torch.bool)
    mask[1:5, 2:7] = True
    assert ramanujan_gap(mask) == pytest.approx(sqrt(4) + sqrt(3), abs=1e-5)


def test_two_parts_that_are_not_connected_are_below_the_bound_of_their_degree():
    mask = torch.block_diag(torch.ones(9, 9), torch.ones(9, 9)).bool()
    assert ramanujan_gap(mask) == pytest.approx(2 * sqrt(8) - 9, abs=1e-5)


@pytest.mark.parametrize("mask", [torch.eye(5).bool(), torch.zeros(3, 4).bool(), torch.ones(513, 513).bool()])
def test_sparse_empty_and_large_masks_have_none(mask):
    assert ramanujan_gap(mask) is None

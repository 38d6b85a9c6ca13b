"""SparseGPT's update and mask are those of its paper, worked out here column by column from inverses alone."""

import pytest
import torch

from pruners import obs
from pruners.inputs import Inputs
from pruners.scopes import OfInputs


def layer(rows, width, groups=1, samples=400, seed=0):
    """A random weight in groups, and correlated inputs of it, in float64."""
    draws = torch.Generator().manual_seed(seed)
    weight = torch.randn(groups, rows, width, generator=draws, dtype=torch.float64)
    mix = torch.randn(groups, width, width, generator=draws, dtype=torch.float64)
    x = torch.randn(groups, samples, width, generator=draws, dtype=torch.float64) @ mix + 0.5
    return weight, Inputs(x.transpose(1, 2) @ x, x.sum(1), samples), x


def hessian(inputs):
    """(2/n) Σ x xᵀ with 0.01 of its mean diagonal added, by the definition, for each group."""
    h = 2 * inputs.products / inputs.count
    return torch.stack([each + 0.01 * each.diagonal().mean() * torch.eye(len(each)) for each in h])


def one_by_one(weight, h, choose):
    """Optimal Brain Surgeon at each removed weight, over the columns from it on: Hassibi et al. 1993.

    Args:
        weight: (rows, columns); h: (columns, columns).
        choose: a column and the weights as they are → the mask of some columns from it on, or None.
    """
    weight, kept = weight.clone(), torch.ones_like(weight, dtype=torch.bool)
    for j in range(weight.shape[1]):
        inverse = torch.linalg.inv(h[j:, j:])
        mask = choose(j, weight)
        if mask is not None:
            kept[:, j : j + mask.shape[1]] = mask
        for row in (~kept[:, j]).nonzero().flatten():
            weight[row, j:] -= weight[row, j] / inverse[0, 0] * inverse[0]
    return weight.masked_fill(~kept, 0), kept


@pytest.mark.parametrize(("rows", "width", "groups"), [(5, 12, 1), (3, 150, 1), (2, 7, 3)])
def test_the_update_is_optimal_brain_surgeon_column_by_column(rows, width, groups):
    weight, inputs, x = layer(rows, width, groups)
    mask = torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    new, compared = obs.updated(weight, mask, inputs), 0
    for group, h in enumerate(hessian(inputs)):
        expected, _ = one_by_one(weight[group], h, lambda j, w, m=mask[group]: m if j == 0 else None)
        masked = weight[group] * mask[group]
        errors = [(x[group] @ (weight[group] - other).T).square().sum(0) for other in (expected, masked)]
        better = errors[0] < errors[1]
        compared += int(better.sum())
        torch.testing.assert_close(new[group][better], expected[better], rtol=1e-6, atol=1e-7)
    assert compared


def test_weights_behind_all_removed_ones_are_the_least_squares_solution():
    weight, inputs, _ = layer(6, 10)
    mask = torch.ones_like(weight, dtype=torch.bool)
    mask[..., :4] = False
    h = hessian(inputs)[0]
    # Of Δᵀ H Δ over the kept entries of Δ, where the removed ones are −w.
    change = torch.linalg.solve(h[4:, 4:], h[4:, :4] @ weight[0, :, :4].T).T
    new = obs.updated(weight, mask, inputs)[0]
    torch.testing.assert_close(new[:, 4:], weight[0, :, 4:] + change)
    assert not new[:, :4].any()


@pytest.mark.parametrize("seed", range(30))
def test_the_update_never_raises_the_error_of_its_layer_and_no_weights_are_better_than_the_optimum(seed):
    weight, inputs, x = layer(8, 9, samples=30, seed=seed)
    mask = torch.rand(weight.shape, generator=torch.Generator().manual_seed(seed)) < 0.3 + 0.02 * seed
    new = obs.updated(weight, mask, inputs)
    assert not new[~mask].any()

    def error(other):
        return (x[0] @ (weight[0] - other).T).square().sum(0)

    best = torch.zeros_like(weight[0])
    for row, kept in enumerate(mask[0]):  # least squares with the removed weights fixed to 0
        if kept.any():
            wanted = (x[0] @ weight[0, row]).unsqueeze(1)
            best[row, kept] = torch.linalg.lstsq(x[0][:, kept], wanted).solution.squeeze(1)
    tolerance = 1e-9 * error(torch.zeros_like(best))
    assert (error(new[0]) <= error(weight[0] * mask[0]) + tolerance).all()
    assert (error(best) <= error(new[0]) + tolerance).all()


def test_a_row_that_the_update_would_make_worse_stays_as_its_mask_leaves_it():
    seeds = range(30)
    guarded = 0
    for seed in seeds:
        weight, inputs, _ = layer(8, 9, samples=30, seed=seed)
        mask = torch.rand(weight.shape, generator=torch.Generator().manual_seed(seed)) < 0.3 + 0.02 * seed
        plain, _ = one_by_one(weight[0], hessian(inputs)[0], lambda j, w, m=mask[0]: m if j == 0 else None)
        worse = (obs.error(weight, plain[None], inputs) > obs.error(weight, weight * mask, inputs))[0]
        new = obs.updated(weight, mask, inputs)[0]
        assert torch.equal(new[worse], (weight * mask)[0, worse])
        guarded += int(worse.sum())
    assert guarded  # there are such rows


def test_the_mask_takes_the_lowest_scores_of_128_columns_and_all_rows_on_weights_as_updated_so_far():
    weight, inputs, _ = layer(4, 200)
    kept = 4 * 200 * 3 // 10
    mask, scores = obs.chosen(weight, kept, None, inputs)
    assert int(mask.sum()) == kept and int(mask[..., :128].sum()) == round(128 * kept / 200)
    h, seen = hessian(inputs)[0], torch.zeros(4, 200, dtype=torch.float64)

    def choose(j, now):
        if j % 128:
            return None
        end = min(j + 128, 200)
        u = torch.linalg.cholesky(torch.linalg.inv(h), upper=True).diagonal()[j:end]
        seen[:, j:end] = now[:, j:end].square() / u.square()
        count = round(end * kept / 200) - round(j * kept / 200)
        least = seen[:, j:end].flatten().sort(descending=True).values[count - 1]
        return seen[:, j:end] >= least

    _, expected = one_by_one(weight[0], h, choose)
    assert torch.equal(mask[0], expected)
    torch.testing.assert_close(scores[0], seen, rtol=1e-6, atol=1e-12)


def test_a_pattern_takes_the_lowest_of_every_m_columns_of_a_row_as_they_are_when_their_turn_comes():
    weight, inputs, _ = layer(5, 16)
    mask, _ = obs.chosen(weight, 5 * 8, OfInputs(2, 4), inputs)
    h = hessian(inputs)[0]

    def choose(j, now):
        if j % 4:
            return None
        u = torch.linalg.cholesky(torch.linalg.inv(h), upper=True).diagonal()[j : j + 4]
        scores = now[:, j : j + 4].square() / u.square()
        return scores >= scores.sort(1, descending=True).values[:, 1:2]

    _, expected = one_by_one(weight[0], h, choose)
    assert torch.equal(mask[0], expected)
    assert (mask.view(5, 4, 4).sum(-1) == 2).all()


def test_inputs_that_are_always_0_move_nothing():
    weight, _, _ = layer(3, 6)
    nothing = Inputs(torch.zeros(1, 6, 6, dtype=torch.float64), torch.zeros(1, 6, dtype=torch.float64), 10)
    mask = torch.arange(6).expand(1, 3, 6) % 2 == 0
    assert torch.equal(obs.updated(weight, mask, nothing), weight * mask)

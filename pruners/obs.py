"""SparseGPT (Frantar & Alistarh 2023): the update of a layer's weights at a mask, and the mask of its own.

A layer is a matrix W of outputs by inputs x, whose error at other weights V is Σ ‖W x − V x‖². With
H = (2/n) Σ x xᵀ and U the upper Cholesky factor of H⁻¹ = Uᵀ U, columns are gone through from left to right:
a removed weight w_j of a row moves its weights to the right by −w_j/U_jj · U_jk.
"""

from collections.abc import Callable
from fractions import Fraction

import torch
from torch import Tensor

from pruners.inputs import Inputs
from pruners.ranking import keep_top_of
from pruners.scopes import OfInputs

# Columns whose updates reach the columns behind them together; a mask is chosen for as many at once.
_COLUMNS = 128
# What is added to the diagonal of H, as a share of its mean.
_DAMPING = 0.01

# A column, the weights and the diagonal of U from it to the end of its block → the mask of some columns.
_Choice = Callable[[int, Tensor, Tensor], Tensor | None]


def updated(weight: Tensor, mask: Tensor, inputs: Inputs) -> Tensor:
    """The weights of a layer, updated for a mask; removed weights are 0.

    A row that the update would make worse on these inputs stays as the mask leaves it: the columns are gone
    through one by one, and the best weights for one are not always the best for the next.

    Args:
        weight: (groups, outputs, inputs) in float64, as `Inputs` counts them.
        mask: of the same shape; True is kept.
    """
    masked = weight.masked_fill(~mask, 0)

    def given(start: int, columns: Tensor, diagonal: Tensor) -> Tensor | None:
        return None if start % _COLUMNS else mask[..., start : start + columns.shape[-1]]

    new = _solved(weight, factor(inputs), given)
    worse = error(weight, new, inputs) > error(weight, masked, inputs)
    return torch.where(worse.unsqueeze(-1), masked, new)


def error(weight: Tensor, other: Tensor, inputs: Inputs) -> Tensor:
    """Σ (w x − v x)² of each row w, v of two matrices (groups, outputs, inputs): (groups, outputs)."""
    change = weight - other
    return ((change @ inputs.products) * change).sum(-1)


def chosen(weight: Tensor, kept: int, pattern: OfInputs | None, inputs: Inputs) -> tuple[Tensor, Tensor]:
    """The mask of a layer and the scores w²/U_jj² that it comes from, on weights as updated so far.

    Without a pattern the lowest scores of 128 columns and all rows together go, and each 128 columns keep the
    same share, to one weight. With a pattern N:M the lowest of every M consecutive columns of a row go.

    Args:
        weight: (groups, outputs, inputs) in float64; with a pattern its inputs are a multiple of M.
        kept: how many weights the layer keeps; a pattern says so itself.
    """
    scores, parts = torch.zeros_like(weight), []
    share = Fraction(kept, weight.shape[-1])

    def choose(start: int, columns: Tensor, diagonal: Tensor) -> Tensor | None:
        if pattern:
            if start % pattern.of:
                return None
            columns, diagonal = columns[..., : pattern.of], diagonal[..., : pattern.of]
        elif start % _COLUMNS:
            return None
        each = columns.square() / diagonal.unsqueeze(-2).square()
        end = start + each.shape[-1]
        scores[..., start:end] = each
        if pattern:
            order = each.argsort(dim=-1, descending=True, stable=True)
            mask = torch.zeros_like(each, dtype=torch.bool)
            mask.scatter_(-1, order[..., : pattern.keeps], True)
        else:
            mask = keep_top_of([each], round(share * end) - round(share * start))[0]
        parts.append(mask)
        return mask

    _solved(weight, factor(inputs), choose)
    return torch.cat(parts, -1), scores


def factor(inputs: Inputs) -> Tensor:
    """U with Uᵀ U = H⁻¹, (groups, d, d): H = (2/n) Σ x xᵀ with a hundredth of its mean diagonal added to it.

    Where all inputs are 0, H is the identity.
    """
    h = inputs.products * (2 / inputs.count)
    diagonal = h.diagonal(dim1=-2, dim2=-1)
    damping = _DAMPING * diagonal.mean(-1)
    damping = torch.where(damping > 0, damping, torch.ones_like(damping))
    h = h + torch.diag_embed(damping.unsqueeze(-1).expand_as(diagonal))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(h))
    upper: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return upper


def _solved(weight: Tensor, upper: Tensor, choose: _Choice) -> Tensor:
    """The weights after all columns, with 0 where the mask that was chosen on the way removes one.

    Args:
        choose: is asked at each column for the mask of it and the following ones of its block of columns;
            None: the columns have theirs already.
    """
    new, width = weight.clone(), weight.shape[-1]
    kept = torch.ones_like(weight, dtype=torch.bool)
    for first in range(0, width, _COLUMNS):
        end = min(first + _COLUMNS, width)
        block, factors = new[..., first:end], upper[..., first:end, first:end]
        diagonal = factors.diagonal(dim1=-2, dim2=-1)
        errors = torch.zeros_like(block)
        for j in range(end - first):
            mask = choose(first + j, block[..., j:], diagonal[..., j:])
            if mask is not None:
                kept[..., first + j : first + j + mask.shape[-1]] = mask
            column = block[..., j].masked_fill(kept[..., first + j], 0) / diagonal[..., j : j + 1]
            errors[..., j] = column
            block[..., j:] -= column.unsqueeze(-1) * factors[..., j : j + 1, j:]
        if end < width:
            new[..., end:] -= errors @ upper[..., first:end, end:]
    return new.masked_fill(~kept, 0)

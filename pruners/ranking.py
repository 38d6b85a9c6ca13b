"""Rankings: which weights of a group of layers are kept, by their scores."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pruners.masks import Masks, total_kept
from pruners.scopes import Blocks, Group, OfInputs, Weighed


def keep_top(scores: Tensor, count: int) -> Tensor:
    """Boolean mask, shaped like the 1-D `scores`, of exactly the `count` largest; ties go to the lower index.

    The test `scores >= threshold` would keep every tied weight: all weights, if all scores are 0.
    """
    return keep_top_of([scores], count)[0]


def keep_top_of(parts: Sequence[Tensor], count: int) -> list[Tensor]:
    """As `keep_top`, over several tensors of any shape, as if flattened and concatenated."""
    total = sum(part.numel() for part in parts)
    if not 0 < count < total:
        return [torch.full_like(part, count > 0, dtype=torch.bool) for part in parts]
    threshold = _largest(torch.cat([part.flatten() for part in parts]), count)
    flat = [(part > threshold).flatten() for part in parts]
    remaining = count - total_kept(flat)
    for part, mask in zip(parts, flat, strict=True):
        tied = (part.flatten() == threshold).nonzero().squeeze(1)[:remaining]
        mask[tied] = True
        remaining -= len(tied)
    return [mask.view(part.shape) for part, mask in zip(parts, flat, strict=True)]


def _largest(scores: Tensor, count: int) -> Tensor:
    """The count-th largest score, by selection instead of a sort; on a CPU it may reorder the scores."""
    if scores.device.type != "cpu":
        return scores.kthvalue(scores.numel() - count + 1).values
    # NumPy partitions in place, about three times as fast as kthvalue, in a third of its memory.
    values = scores.numpy()
    low = values.min()
    if np.count_nonzero(values == low) > len(values) // 8:
        # Zeros, or weights pruned before: selection is slow among many ties.
        values = values[values > low]
    place = len(values) - count
    if place < 0:
        return scores.new_tensor(low)
    values.partition(place)
    return scores.new_tensor(values[place])


def select(
    scores: Mapping[str, Tensor], groups: Sequence[Group], kept: Sequence[int], min_per_layer: int = 0
) -> Masks:
    """Masks that keep the highest scores of each group of layers.

    Args:
        kept: number of weights to keep of each group.
        min_per_layer: least number of weights to keep of each layer, in groups without a pattern.

    Raises:
        ValueError: the minima of a group's layers add up to more than the group keeps.
    """
    masks: Masks = {}
    for group, count in zip(groups, kept, strict=True):
        ranked = [scores[layer] for layer in group.layers]
        if isinstance(group.pattern, Weighed):
            chosen = _keep_weighed(ranked, count, group.pattern.each, min_per_layer)
        elif isinstance(group.pattern, Blocks):
            chosen = _keep_blocks(ranked, count, group.pattern)
        elif isinstance(group.pattern, OfInputs):
            chosen = [_keep_of_inputs(each, count, group.pattern.of) for each in ranked]
        elif group.pattern == "rows":
            chosen = [_keep_rowwise(each, count) for each in ranked]
        else:
            chosen = keep_top_of(_spared(ranked, count, min_per_layer), count)
        masks |= dict(zip(group.layers, chosen, strict=True))
    return {layer: masks[layer] for layer in scores}


def _keep_weighed(ranked: Sequence[Tensor], count: int, each: Sequence[int], least: int) -> list[Tensor]:
    """Keep the highest units, as many as together come nearest to a number of weights; fewer at a tie.

    Args:
        each: for each tensor of scores, the weights of one of its units.
        least: units that are kept of each whatever the others are. Units of score −∞ are not kept.
    """
    spared = [s.masked_fill(keep_top_of([s], min(least, s.numel()))[0], torch.inf) for s in ranked]
    scores = torch.cat(spared)
    costs = torch.cat(
        [torch.full(s.shape, cost, device=s.device) for s, cost in zip(ranked, each, strict=True)]
    )
    order = scores.argsort(stable=True, descending=True)
    reached = torch.cat([costs.new_zeros(1), costs[order].cumsum(0)])
    number = int((reached - count).abs().argmin())
    number = max(number, int((scores == torch.inf).count_nonzero()))
    number = min(number, int((scores > -torch.inf).count_nonzero()))
    mask = torch.zeros_like(scores, dtype=torch.bool)
    mask[order[:number]] = True
    return list(mask.split([s.numel() for s in ranked]))


def _spared(ranked: Sequence[Tensor], count: int, least: int) -> Sequence[Tensor]:
    """The scores, infinite for the highest of each layer, which are kept whatever the others are."""
    if not least:
        return ranked
    safe = [keep_top_of([each], least)[0] for each in ranked]
    if total_kept(safe) > count:
        raise ValueError(f"min_per_layer {least} keeps more than the {count} weights the sparsity leaves")
    return [each.masked_fill(s, torch.inf) for each, s in zip(ranked, safe, strict=True)]


def _keep_rowwise(scores: Tensor, count: int) -> Tensor:
    """Keep the same number of weights in every row, and one more in the rows with the highest next scores."""
    rows = scores.flatten(1)
    per_row, remainder = divmod(count, len(rows))
    order = rows.argsort(stable=True, dim=1, descending=True)
    mask = torch.zeros_like(rows, dtype=torch.bool).scatter_(1, order[:, :per_row], True)
    if remainder:
        following = order[:, per_row : per_row + 1]
        chosen = keep_top(rows.gather(1, following).squeeze(1), remainder)
        mask.scatter_(1, following, mask.gather(1, following) | chosen.unsqueeze(1))
    return mask.view(scores.shape)


def _keep_of_inputs(scores: Tensor, count: int, of: int) -> Tensor:
    """Keep the same number of every `of` consecutive inputs of an output, in the manner of `_keep_rowwise`.

    The inputs that are left behind the last whole number of them, fewer than `of`, keep the same share.

    Args:
        scores: (outputs, inputs, ...); inputs are consecutive at one position of a kernel.
    """
    lines = scores.movedim(1, -1)
    inputs = lines.shape[-1]
    whole = inputs - inputs % of
    mask = torch.zeros_like(lines, dtype=torch.bool)
    counts = round(Fraction(count * whole, inputs))
    for part, width, kept in (
        (slice(0, whole), of, counts),
        (slice(whole, inputs), inputs - whole, count - counts),
    ):
        if width and kept:
            mask[..., part] = _keep_rowwise(lines[..., part].reshape(-1, width), kept).view(
                lines[..., part].shape
            )
    return mask.movedim(-1, 1).contiguous()


def _keep_blocks(layers: Sequence[Tensor], count: int, block: Blocks) -> list[Tensor]:
    """Keep the blocks of the highest sums of scores, as many as have `count` weights together.

    The last block keeps only its highest weights, where the count asks for a part of it. Weights of score −∞
    count neither in a sum nor in the count.

    Args:
        layers: scores (outputs, ...), each of which is cut into blocks as a matrix (outputs, the rest).
    """
    cut = [_cut(scores.flatten(1), block) for scores in layers]
    weights = torch.cat([each for each, _ in cut])
    alive = weights > -torch.inf
    sums = weights.masked_fill(~alive, 0).sum(1).masked_fill(~alive.any(1), -torch.inf)
    order = sums.argsort(descending=True, stable=True)
    reached = alive.sum(1)[order].cumsum(0)
    mask = torch.zeros_like(alive)
    mask[order[reached <= count]] = True
    left = count - int(mask.logical_and_(alive).count_nonzero())
    if left and (partly := order[reached > count][:1]).numel():
        mask[partly[0]] = keep_top(weights[partly[0]], left)
    parts = mask.split([len(each) for each, _ in cut])
    return [_joined(part, shape, scores) for part, (_, shape), scores in zip(parts, cut, layers, strict=True)]


def _cut(matrix: Tensor, block: Blocks) -> tuple[Tensor, tuple[int, int, int, int]]:
    """The blocks of a matrix, (blocks, weights), of which those at the edge are filled up with −∞.

    Returns:
        The blocks, and their shape: block rows, rows of a block, block columns, columns of a block.
    """
    rows, columns = matrix.shape
    down, right = -(-rows // block.outputs), -(-columns // block.inputs)
    shape = down, block.outputs, right, block.inputs
    padded = F.pad(
        matrix, (0, right * block.inputs - columns, 0, down * block.outputs - rows), value=-torch.inf
    )
    return padded.view(shape).transpose(1, 2).reshape(down * right, -1), shape


def _joined(blocks: Tensor, shape: tuple[int, int, int, int], scores: Tensor) -> Tensor:
    """The mask of the shape of the scores that blocks make, without what filled up those at the edge."""
    down, outputs, right, inputs = shape
    matrix = blocks.view(down, right, outputs, inputs).transpose(1, 2).reshape(down * outputs, right * inputs)
    rows, columns = scores.flatten(1).shape
    return matrix[:rows, :columns].reshape(scores.shape)

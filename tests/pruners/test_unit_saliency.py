"""FLAP, Minitron's activations and block influence equal what hooks see, computed by hand in float64."""

import pytest
import torch
from torch import nn

import pruners
from tests.pruners.transformer_nets import BLOCKS, HEADS, WIDTH, batches, decoder, seen

EXCLUDE = ["head.*"]


def ranked(criterion, structure, unit_score="mean"):
    """Name of a group → the number that ranks each of its units."""
    model = decoder()
    scores = pruners.saliency(criterion, model, batches(), exclude=EXCLUDE)
    units = pruners.find_units(structure, model, batches()[0][0], EXCLUDE)
    reads = pruners.find(criterion).reads
    return pruners.structures.ranked_units(structure, units, scores, unit_score, None, reads)


def fluctuation(path):
    """σ² of each input column times the squared norm of the column."""
    model = decoder()
    inputs, _ = seen(model, [path], batches())[path]
    rows = inputs.reshape(-1, inputs.shape[-1])
    return rows.var(0, correction=0) * model.get_submodule(path).weight.detach().square().sum(0)


def standardized(values):
    return (values - values.mean()) / values.std()


@pytest.mark.parametrize("number", range(BLOCKS))
def test_flap_is_the_standardized_fluctuation_of_what_a_column_adds(number):
    found = ranked("flap", "head+neuron")
    neurons = standardized(fluctuation(f"blocks.{number}.feedforward.down"))
    torch.testing.assert_close(found[f"blocks.{number}.feedforward.gate.weight"], neurons)
    columns = standardized(fluctuation(f"blocks.{number}.attention.o").square())
    heads = columns.view(HEADS, -1).mean(1)
    torch.testing.assert_close(found[f"blocks.{number}.attention.q.weight"], heads)


@pytest.mark.parametrize("number", range(BLOCKS))
def test_activation_is_the_size_of_outputs_mean_over_positions_and_l2_over_samples(number):
    found = ranked("activation", "head+neuron")
    paths = [f"blocks.{number}.feedforward.down", f"blocks.{number}.attention.o"]
    # The samples of the two batches have as many positions.
    neurons, heads = (seen(decoder(), paths, batches())[path][0] for path in paths)
    torch.testing.assert_close(
        found[f"blocks.{number}.feedforward.gate.weight"], neurons.abs().mean(1).square().sum(0).sqrt()
    )
    norms = heads.unflatten(2, (HEADS, WIDTH // HEADS)).norm(dim=3)
    torch.testing.assert_close(
        found[f"blocks.{number}.attention.q.weight"], norms.mean(1).square().sum(0).sqrt()
    )


def test_block_influence_is_one_less_the_mean_cosine_of_a_block():
    found = ranked("block-influence", "depth")
    assert list(found) == [f"blocks.{number}" for number in range(BLOCKS)]
    for path, value in found.items():
        first, last = seen(decoder(), [path], batches())[path]
        cosine = (first * last).sum(-1) / first.norm(dim=-1) / last.norm(dim=-1)
        assert float(value) == pytest.approx(float(1 - cosine.mean()))


def test_a_convolution_is_read_by_channels_and_those_of_each_group_by_its_own_outputs():
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, 3, groups=2).double()
    x = torch.randn(5, 4, 7, 7, dtype=torch.float64)
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(150, 3).double())
    scores = pruners.saliency("flap", model, [(x, torch.arange(5) % 3)])["0.weight"]
    variance = x.transpose(0, 1).flatten(1).var(1, correction=0)
    size = layer.weight.detach().square().sum((2, 3)).view(2, 3, 2).sum(1).flatten()
    of_channels = standardized(variance * size)
    for output in range(6):
        for channel in range(2):
            expected = of_channels[output // 3 * 2 + channel].expand(3, 3)
            torch.testing.assert_close(scores[output, channel], expected)


def test_heads_of_torch_attention_are_ranked_by_the_columns_of_its_output_projection():
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True).double().eval()
    x = torch.randn(4, 5, 8, dtype=torch.float64)
    reads = []
    original = nn.functional.scaled_dot_product_attention
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            nn.functional,
            "scaled_dot_product_attention",
            lambda *args, **kwargs: reads.append(original(*args, **kwargs)) or reads[-1],
        )
        model.train()  # the fast path of eval mode calls no function that could be seen
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        model.self_attn.dropout = 0.0
        model(x)
    [heads] = reads
    scores = pruners.saliency("activation", model, [(x, torch.zeros(4, 5, 8))], loss=nn.functional.mse_loss)
    expected = heads.detach().norm(dim=3).mean(2).square().sum(0).sqrt().repeat_interleave(4)
    torch.testing.assert_close(scores["self_attn.out_proj.weight"], expected.expand(8, 8))


def test_a_weight_that_is_no_whole_matrix_is_named():
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, inputs):
            return inputs @ self.layer.weight[:, :3]

    with pytest.raises(ValueError, match=r"flap: layer layer.weight is no whole matrix"):
        pruners.saliency("flap", Parts(), [(torch.randn(5, 4), torch.zeros(5, dtype=torch.int64))])


def test_units_that_no_weight_reads_are_refused():
    with pytest.raises(ValueError, match="no weight reads"):
        pruners.prune("flap", decoder(), batches(), sparsity=0.5, structure="filter")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_block_influence_of_a_network_without_blocks_is_0_unless_its_outputs_are_no_numbers(value):
    model, x = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 3)), torch.randn(3, 2)
    scores = pruners.saliency("block-influence", model, [(x, torch.arange(3))])
    assert not any(score.any() for score in scores.values())
    x[1, 0] = value
    with pytest.raises(ValueError, match="block-influence gives NaN or infinite scores in layer"):
        pruners.prune("block-influence", model, [(x, torch.arange(3))], sparsity=0.5)

"""Recurrent networks that read an image row by row."""

import torch
from torch import Tensor, nn

from sweep.data import Shape


class RowReader(nn.Module):
    """A linear layer on each row, an LSTM or GRU over the rows, a linear layer on the last state.

    With one bias for each gate, the sizes are those that Lee et al. (2019) print; their code is not public.
    On 28×28 images LSTM-s and -b (128 and 256 units) have 135,936 and 534,016 weights, 136,586 and 535,306
    trained parameters; GRU-s and -b have 103,168 and 402,944 weights, 103,690 and 403,978 trained parameters.

    The network is also the usual MNIST example of TensorFlow at that time, and the biases are TensorFlow's:
    its LSTM adds a constant 1 to the forget gate, its GRU starts with biases of 1 for both gates. All other
    biases are 0.

    Args:
        kind: class of the recurrent layer.
        units: width of all layers.
    """

    def __init__(self, kind: type[nn.LSTM | nn.GRU], units: int, shape: Shape, classes: int) -> None:
        super().__init__()
        channels, _, width = shape
        self.rows = nn.Linear(channels * width, units)
        self.cell = kind(units, units, batch_first=True)
        self.head = nn.Linear(units, classes)
        # PyTorch's cells have two biases for each gate. The second is kept constant here.
        trained, constant = (self.cell.get_parameter(name) for name in ("bias_ih_l0", "bias_hh_l0"))
        constant.requires_grad_(False)
        with torch.no_grad():
            trained.zero_()
            constant.zero_()
            if kind is nn.LSTM:
                constant[units : 2 * units] = 1  # gates in PyTorch's order: input, forget, cell, output
            else:
                trained[: 2 * units] = 1  # reset, update, new

    def forward(self, images: Tensor) -> Tensor:
        """Class scores (N, classes) of images (N, C, H, W), read as H steps of C·W features."""
        states, _ = self.cell(self.rows(images.transpose(1, 2).flatten(2)))
        scores: Tensor = self.head(states[:, -1])
        return scores

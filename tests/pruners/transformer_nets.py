"""Small transformers, and what they do on a batch, seen by hooks: for tests that compute numbers a second way."""

import torch

from sweep.models.decoders import Decoder

BLOCKS, WIDTH, HEADS, NEURONS = 3, 8, 2, 6


def decoder(seed=0):
    """A decoder of three blocks in float64, whose weights are large enough for blocks to differ."""
    torch.manual_seed(seed)
    model = Decoder(11, BLOCKS, WIDTH, HEADS, NEURONS).double().eval()
    with torch.no_grad():
        for number, block in enumerate(model.blocks):
            for parameter in block.parameters():
                parameter.normal_(0, 0.2 + 0.3 * number)
    return model


def batches(seed=1):
    """Two batches of windows of tokens, the second shorter by a sample."""
    generator = torch.Generator().manual_seed(seed)
    windows = [torch.randint(0, 11, (count, 6), generator=generator) for count in (3, 2)]
    return [(each[:, :-1], each[:, 1:]) for each in windows]


def seen(model, paths, given):
    """Path of a module → its inputs and outputs, of all batches behind each other."""
    found = {path: ([], []) for path in paths}
    handles = []
    for path in paths:

        def note(module, inputs, output, path=path):
            found[path][0].append(inputs[0].detach())
            found[path][1].append(output.detach())

        handles.append(model.get_submodule(path).register_forward_hook(note))
    with torch.no_grad():
        for inputs, _ in given:
            model(inputs)
    for handle in handles:
        handle.remove()
    return {path: (torch.cat(first), torch.cat(last)) for path, (first, last) in found.items()}

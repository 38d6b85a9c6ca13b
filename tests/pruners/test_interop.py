import copy

import pytest
import torch
from safetensors import safe_open
from torch.nn.utils import prune as torch_prune

import pruners
from pruners import interop


@pytest.mark.parametrize("net", ["conv_net", "recurrent_net"])
def test_torchs_own_pruning_computes_and_trains_the_same_network(net, request):
    model, [(inputs, _), *_] = request.getfixturevalue(net)
    model.eval()
    masks = pruners.prune("magnitude", model, sparsity=0.6)
    exported = interop.to_torch_prune(copy.deepcopy(model), masks)
    pruners.apply_masks(model, masks)
    torch.testing.assert_close(exported(inputs), model(inputs))
    assert torch_prune.is_pruned(exported)
    exported(inputs).square().sum().backward()
    torch.optim.SGD(exported.parameters(), 0.1).step()
    exported(inputs)
    for name, mask in masks.items():
        assert (
            not exported.get_submodule(name.rpartition(".")[0]).__dict__[name.rpartition(".")[2]][~mask].any()
        )
    found = interop.masks_of(exported.state_dict())
    assert all(torch.equal(found[name], mask) for name, mask in masks.items())


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_masks_and_state_come_back_from_a_file_as_they_were(suffix, conv_net, tmp_path):
    model, batches = conv_net
    masks = pruners.prune("snip", model, batches, sparsity=0.9)
    state = interop.state_dict(model, masks)
    path = tmp_path / f"state.{suffix}"
    interop.save(path, state) if suffix == "safetensors" else torch.save(state, path)
    read = interop.load(path)
    assert read.keys() == state.keys() and all(torch.equal(read[name], state[name]) for name in state)
    found = interop.masks_of(read)
    assert list(found) and all(torch.equal(found[name], mask) for name, mask in masks.items())
    fresh = copy.deepcopy(model)
    fresh.load_state_dict(interop.weights_of(read))
    assert all(not fresh.get_parameter(name)[~mask].any() for name, mask in masks.items())


def test_the_header_of_a_file_has_the_texts_that_are_given(conv_net, tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(interop.encode(conv_net[0].state_dict(), {"trial_id": "0123"}))
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"trial_id": "0123"}


def test_a_file_with_code_in_it_is_not_run(tmp_path):
    ran = tmp_path / "ran"

    class Harmful:
        def __reduce__(self):
            return ran.touch, ()

    torch.save({"weight": Harmful()}, tmp_path / "harmful.pt")
    with pytest.raises(
        ValueError, match=r"harmful\.pt: neither safetensors nor a torch file of named tensors alone"
    ):
        interop.load(tmp_path / "harmful.pt")
    assert not ran.exists()


def test_masks_that_do_not_fit_are_an_error(conv_net):
    model, _ = conv_net
    for masks in (
        {"0.weight": torch.ones(2, 2, dtype=torch.bool)},
        {"9.weight": torch.ones(2, 2, dtype=torch.bool)},
    ):
        for export in (interop.to_torch_prune, interop.state_dict):
            with pytest.raises(ValueError, match=r"mask \d\.weight \(2, 2\) fits no parameter of Sequential"):
                export(model, masks)


def test_weights_that_two_modules_share_are_not_torn_apart(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    model[1].weight = model[0].weight
    masks = pruners.prune("magnitude", model, sparsity=0.5)
    with pytest.raises(ValueError, match=r"0\.weight is shared by several modules"):
        interop.to_torch_prune(model, masks)
    interop.save(tmp_path / "tied.safetensors", model.state_dict())
    assert interop.load(tmp_path / "tied.safetensors").keys() == model.state_dict().keys()
    pruned = interop.state_dict(model, masks)
    model.load_state_dict({name: pruned[name] for name in model.state_dict()})
    [mask] = masks.values()
    assert torch.equal(model[0].weight != 0, mask), "by its other name too"


def test_only_masks_with_a_weight_are_masks(tmp_path):
    assert interop.masks_of(
        {"causal_mask": torch.ones(2), "a_mask": torch.ones(2), "a": torch.ones(2)}
    ).keys() == {"a"}
    assert interop.weights_of(
        {"causal_mask": torch.ones(2), "a_mask": torch.ones(2), "a": torch.ones(2)}
    ).keys() == {"causal_mask", "a"}
    torch.save(torch.ones(2), tmp_path / "tensor.pt")
    with pytest.raises(ValueError, match="named tensors alone"):
        interop.load(tmp_path / "tensor.pt")

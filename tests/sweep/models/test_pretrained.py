"""A decoder of the package transformers, saved to a folder: named by its config, trained, scored, pruned and narrowed."""

import json

import pytest
import torch

import pruners
from sweep import models, study
from sweep.errors import BadInput
from sweep.models import pretrained
from sweep.models.weights import load, parse
from sweep.trial import run
from tests.sweep.trial.test_text import root

__all__ = ["root"]

SAID = {"model_type": "llama", "vocab_size": 256, "hidden_size": 16, "intermediate_size": 24}
SIZES = {
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "tie_word_embeddings": False,
}


@pytest.fixture
def folder(tmp_path):
    """A folder with the config of a small Llama."""
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "config.json").write_text(
        json.dumps(SAID | SIZES | {"transformers_version": "5.0"})
    )
    return tmp_path / "small"


def written(folder, more=""):
    path = folder.parent / "small.yaml"
    path.write_text(
        "dataset: text-file:song\ndataset.length: 16\nmodel: transformers:small\ninit: gpt\nsteps: 2\n"
        f"optimizer: adamw\nlr: 0.003\nbatch_size: 8\nscore_batch_size: 4\nlayers: '* !lm_head.*'\n{more}"
    )
    return path


def test_a_study_names_the_network_and_not_its_folder(folder):
    path = written(folder, "criterion: snip\nsparsity: 0.5\n")
    [trial] = study.load(path).trials()
    assert trial.config.model == pretrained.name(folder)
    assert str(folder) not in trial.canonical and "transformers_version" not in trial.canonical
    (folder / "config.json").write_text(json.dumps(SAID | SIZES | {"hidden_size": 32}))
    assert study.load(path).trials()[0].id != trial.id


@pytest.mark.parametrize("text", [None, "{", "[]", "{}"])
def test_a_folder_that_is_no_saved_model_is_refused_in_one_line(tmp_path, text):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(BadInput, match=r"config\.json") as caught:
        pretrained.name(tmp_path)
    assert "\n" not in str(caught.value)


def test_without_the_package_one_line_says_how_to_install_it(folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(BadInput, match=r"pip install 'secateur\[transformers\]'"):
        models.find(pretrained.name(folder)).build((16,), 256)


@pytest.fixture
def saved(folder):
    """The same folder, with weights that the package has saved."""
    import transformers

    torch.manual_seed(0)
    network = transformers.LlamaForCausalLM(transformers.LlamaConfig(**(SAID | SIZES)))
    network.save_pretrained(folder)
    return folder, network.eval()


@pytest.mark.slow
def test_it_is_the_network_that_the_package_has_saved(saved):
    folder, network = saved
    model = models.build(pretrained.name(folder), (9,), 256, 0, "gpt", dtype=torch.int64).eval()
    name = "model.safetensors@0123456789abcdef"
    load(model, name, parse(name, (folder / "model.safetensors").read_bytes()))
    tokens = torch.randint(0, 256, (3, 9))
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), network(tokens).logits.transpose(1, 2))


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["head", "neuron", "head+neuron", "depth"])
def test_it_loses_heads_neurons_and_blocks_as_own_decoders_do(saved, structure):
    model = models.build(pretrained.name(saved[0]), (9,), 256, 0, "kaiming", dtype=torch.int64).eval()
    tokens = torch.randint(0, 256, (3, 10))
    batches = [(tokens[:, :-1], tokens[:, 1:])]
    masks = pruners.prune(
        "snip", model, batches, sparsity=0.5, structure=structure, exclude="lm_head.*", unit_score="mean"
    )
    units = pruners.find_units(structure, model, tokens, ["lm_head.*"])
    pruners.apply_masks(model, {**masks, **pruners.other_masks(model, units, masks)})
    small = pruners.STRUCTURES[structure].cut(model, units, pruners.kept_units(units, masks), tokens)
    assert sum(each.numel() for each in small.parameters()) < sum(each.numel() for each in model.parameters())
    with torch.no_grad():
        torch.testing.assert_close(
            small(tokens), model(tokens), rtol=0, atol=1e-5 * float(model(tokens).abs().max())
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields", ["criterion: wanda", "criterion: flap\nstructure: head+neuron\nunit_score: mean\nshrink: true"]
)
def test_a_trial_trains_prunes_and_scores_it(saved, root, fields):
    [trial] = study.load(written(saved[0], f"{fields}\nsparsity: 0.5\n")).trials()
    assert run(trial, root).trial["status"] == "ok"

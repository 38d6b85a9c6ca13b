"""Every field of a trial says once what it decides; what follows from that is derived."""

import subprocess
import sys

import pytest

from sweep.config import AFTER_DENSE, CHOICE, FIELDS, SEEDS, Config, about, with_role
from sweep.roles import Role


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_has_one_role_and_a_meaning_of_one_line(name):
    said = about(name)
    assert isinstance(said.role, Role)
    assert 10 < len(said.help) < 110 and "\n" not in said.help and not said.help.endswith(".")


def test_every_role_is_one_that_fields_have():
    assert {about(name).role for name in FIELDS} == set(Role)


def test_what_a_dense_network_does_not_depend_on_is_what_pruning_reads():
    config = {"dataset": "digits", "model": "conv-5", "epochs": 4}
    one = Config(**config, criterion="snip", sparsity=0.9)
    for name, value in (("lr", 0.2), ("init", "lecun"), ("stratified", True), ("order_seed", 1)):
        assert Config(**config, criterion="snip", sparsity=0.9, **{name: value}).trunk != one.trunk, name
    other = {"criterion": "force", "sparsity": 0.5, "scope": "erk", "iterations": 3, "rewind_epoch": 0}
    assert Config(**config, **other, prune_epoch=1, mask_seed=4, drop_fraction=0.5).trunk == one.trunk
    assert not {*AFTER_DENSE} & {*with_role(Role.DATA, Role.NETWORK, Role.TRAINING)}


def test_what_is_compared_is_how_masks_are_chosen_and_not_what_is_pruned_or_how_it_is_trained():
    assert {"criterion", "scope", "iterations", "score_batches"} <= {*CHOICE}
    assert not {*CHOICE} & {"sparsity", "structure", "layers", "prune_epoch", "lr", "rewind_epoch", *SEEDS}


@pytest.mark.slow
def test_fields_are_known_without_torch_so_that_analyses_start_fast():
    code = "import sys, sweep.config; print({'torch', 'ray', 'pruners'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"

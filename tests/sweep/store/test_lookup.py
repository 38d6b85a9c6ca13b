"""Trials are looked up by the beginning of their ids, in one study's folder or in that of all studies."""

from datetime import UTC, datetime

import pytest

from sweep.store import lookup, results
from sweep.store.places import place


def write(root, study, trial_id, status, day):
    row = {
        "trial_id": trial_id,
        "study": study,
        "status": status,
        "seed": 0,
        "sparsity": 0.5,
        "config": '{"dataset":"digits","model":"conv-5","criterion":"snip"}',
        "finished_at": datetime(2026, 11, day, tzinfo=UTC),
    }
    results.write(root / study, [row], [[]], [[]])


@pytest.fixture
def root(tmp_path):
    write(tmp_path, "one", "aa11", "failed", 3)
    write(tmp_path, "one", "aa22", "stopped", 1)
    write(tmp_path, "two", "aa11", "ok", 1)
    write(tmp_path, "two", "bb11", "failed", 1)
    return tmp_path


def test_the_row_that_counts_and_its_folder_are_found_whatever_the_status(root):
    found = lookup.beginning_with(root, "aa")
    assert {name: (each.row["status"], each.folder.name) for name, each in found.items()} == {
        "aa11": ("ok", "two"),
        "aa22": ("stopped", "one"),
    }
    assert lookup.beginning_with(root / "one", "aa1")["aa11"].row["status"] == "failed"
    assert set(lookup.beginning_with(root, "")) == {"aa11", "aa22", "bb11"}
    assert lookup.beginning_with(root, "c") == lookup.beginning_with(root / "none", "a") == {}


def test_the_folder_of_all_studies_is_above_that_of_one(root):
    assert lookup.of_all_studies(root) == lookup.of_all_studies(root / "two") == root


@pytest.mark.slow
def test_results_in_an_object_store_are_looked_up_too(bucket):
    root = place(f"{bucket}/results")
    write(root, "one", "aa11", "ok", 1)
    for folder in (root, root / "one"):
        assert lookup.beginning_with(folder, "aa")["aa11"].row["status"] == "ok"
        assert str(lookup.of_all_studies(folder)) == str(root)

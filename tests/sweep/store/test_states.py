"""Files in the place of a state: whatever their bytes, none but the one that was saved there is loaded."""

import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from sweep.store.lease import LaunchPart
from sweep.store.states import Claims, Store, release

STATE = {"model": {"weight": torch.arange(6.0)}, "step": 3}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("states"))


def saved(store, key="key", state=STATE):
    store.save(key, state)
    return store.path(key).read_bytes()


def test_what_was_saved_is_loaded(store):
    saved(store)
    found = store.load("key")
    assert found["step"] == 3 and torch.equal(found["model"]["weight"], torch.arange(6.0))


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_file_of_any_bytes_is_not_loaded_and_makes_room(store, data):
    """Any bytes, and a state of which any byte is changed, any are missing, or some more follow."""
    whole = saved(store)
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytes([whole[place] ^ data.draw(st.integers(1, 255))])
    more = data.draw(st.binary(min_size=1, max_size=40))
    content = data.draw(
        st.one_of(
            st.binary(max_size=200),
            st.just(whole[:place] + changed + whole[place + 1 :]),
            st.just(whole[:place]),
            st.just(whole + more),
            st.just(more + whole),
        )
    )
    store.path("key").write_bytes(content)
    assert store.load("key") is None and not store.has("key")


def test_a_file_of_torch_or_of_another_state_is_not_loaded(store):
    """A state of another key or device, copied here, has the right tensors with other numbers."""
    path = store.path("key")
    foreign = [saved(store, "other"), saved(Store(store.folder, "cuda"))]
    for content in (STATE, [1, 2], torch.zeros(3), None):
        torch.save(content, path)
        foreign.append(path.read_bytes())
    foreign += [save(STATE["model"]), b""]
    for content in foreign:
        path.write_bytes(content)
        assert store.load("key") is None and not store.has("key")


def test_a_pipe_or_a_folder_in_the_place_of_a_state_is_not_waited_for(tmp_path):
    store = Store(tmp_path)
    os.mkfifo(store.path("pipe"))
    store.path("folder").mkdir()
    os.mkfifo(tmp_path / "other.needs")
    assert [store.load(key) for key in ("pipe", "folder", "none")] == [None] * 3
    store.save("none", STATE)
    claims = Claims(store, "mine", {"a": {"none"}})
    claims.done("a")
    assert not store.has("none")


def test_each_part_of_a_launch_claims_for_itself_and_the_study_ends_all_claims(tmp_path):
    """A part that has its results leaves the states that a killed one goes on from."""
    store = Store(tmp_path / "states")
    one, two = LaunchPart(1, 2, "ab"), LaunchPart(2, 2, "ab")
    first = Claims(store, "made", {"a": {"x"}}, one)
    Claims(store, "made", {"b": {"y"}}, two)  # which is killed
    for key in "xyz":
        store.save(key, STATE)
    first.done("a")
    first.close()
    assert [key for key in "xyz" if store.has(key)] == ["y"]
    again = Claims(store, "made", {"b": {"y"}}, two)
    assert again._claimed() == set()
    other = Claims(store, "other", {"c": {"y"}})
    release(store.folder, "made")
    assert store.has("y"), "another study needs it"
    other.close()
    assert not store.folder.exists()

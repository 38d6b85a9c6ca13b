"""What study.json says of the launches of a study, also where it is damaged."""

import json
from datetime import UTC, datetime

import pytest

from sweep.store import launches

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def test_the_version_of_torch_is_that_of_the_launch_at_the_time(tmp_path):
    for hour, version in ((11, "2.9.0"), (12, "2.14.1")):
        entry = {"started_at": NOON.replace(hour=hour).isoformat(), "versions": {"torch": version}}
        launches.note_launch(tmp_path, "made", "", entry)
    assert launches.torch_version(tmp_path, NOON) == "2.14.1"
    assert launches.torch_version(tmp_path, NOON.replace(hour=13)) is None
    assert launches.torch_version(tmp_path, None) is None


@pytest.mark.parametrize(
    "entries",
    [None, 3, [3], [{"started_at": 3}], [{"started_at": "noon"}], [{"started_at": NOON.isoformat()}]],
)
def test_entries_that_do_not_say_a_version_are_passed_over(entries, tmp_path):
    (tmp_path / "study.json").write_text(json.dumps({"launches": entries}))
    assert launches.torch_version(tmp_path, NOON) is None and launches.parts_of(tmp_path) == []


def test_description_and_tags_stand_beside_the_text(tmp_path):
    about = {"description": "why", "tags": ["a", "b"]}
    launches.note_launch(tmp_path, "s", "seed: 1", {"started_at": "2026-11-26T21:03:00+00:00"}, about)
    content = json.loads((tmp_path / "study.json").read_text())
    assert (content["description"], content["tags"], content["spec"]) == ("why", ["a", "b"], "seed: 1")
    assert launches.last(tmp_path) == (datetime(2026, 11, 26, 21, 3, tzinfo=UTC), "seed: 1")


@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", "{}", '{"spec": 1, "launches": [{"started_at": 1}]}']
)
def test_without_a_whole_study_json_there_is_no_last_launch(content, tmp_path):
    if content is not None:
        (tmp_path / "study.json").write_text(content)
    assert launches.last(tmp_path) is None


def entry(name, hour, **more):
    return {"launch": name * 12, "started_at": NOON.replace(hour=hour).isoformat(), **more}


def test_entries_of_parts_are_apart_until_they_are_gathered_and_known_all_the_time(tmp_path):
    launches.note_launch(tmp_path, "made", "of before", entry("a", 1))
    versions = {"versions": {"torch": "2.9.0"}}
    for name, hour in (("c", 3), ("b", 2)):
        launches.note_launch(tmp_path, "made", f"of {name}", entry(name, hour, **versions), alone=False)
    (tmp_path / ".launch-strange.json").write_text("[" * 99_999)
    assert len(json.loads((tmp_path / "study.json").read_text())["launches"]) == 1
    assert launches.last(tmp_path) == (NOON.replace(hour=3), "of c")
    assert launches.torch_version(tmp_path, NOON.replace(hour=2)) == "2.9.0"
    launches.gather(tmp_path)
    content = json.loads((tmp_path / "study.json").read_text())
    assert [each["launch"][0] for each in content["launches"]] == ["a", "b", "c"]
    assert content["spec"] == "of c"
    assert [each.name for each in tmp_path.glob(".launch-*")] == [".launch-strange.json"]
    launches.gather(tmp_path)
    assert json.loads((tmp_path / "study.json").read_text()) == content


def test_a_gathering_that_was_killed_adds_no_entry_twice(tmp_path):
    launches.note_launch(tmp_path, "made", "", entry("a", 1), alone=False)
    [apart] = tmp_path.glob(".launch-*")
    written = apart.read_bytes()
    launches.gather(tmp_path)
    apart.write_bytes(written)  # study.json was written, and the file not yet removed
    launches.note_launch(tmp_path, "made", "", entry("b", 2))
    content = json.loads((tmp_path / "study.json").read_text())
    assert [each["launch"][0] for each in content["launches"]] == ["a", "b"] and not apart.exists()


def test_a_merge_takes_the_entries_of_parts_too(tmp_path):
    launches.note_launch(tmp_path / "one", "made", "", entry("a", 1))
    launches.note_launch(tmp_path / "one", "made", "", entry("b", 2), alone=False)
    launches.take_in(tmp_path / "all", tmp_path / "one")
    content = json.loads((tmp_path / "all" / "study.json").read_text())
    assert [each["launch"][0] for each in content["launches"]] == ["a", "b"]

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

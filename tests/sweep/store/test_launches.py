"""study.json keeps what a study says of itself, and gives the text of the last launch."""

import json
from datetime import UTC, datetime

import pytest

from sweep.store import launches


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

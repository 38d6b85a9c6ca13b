import pytest

from sweep.engine import provenance


@pytest.mark.parametrize(
    ("revision", "dirty", "code"),
    [("abc123", False, "abc123"), ("abc123", True, "abc123-dirty"), (None, None, "0.2.0")],
)
def test_code_is_the_commit_with_a_mark_if_files_differ_and_a_version_without_a_repository(
    revision, dirty, code
):
    launch = {"git_revision": revision, "git_dirty": dirty, "versions": {"secateur": "0.2.0"}}
    assert provenance.code(launch) == code


def test_every_launch_has_an_id_of_its_own():
    one, other = provenance.here(), provenance.here()
    assert one["launch"] != other["launch"] and provenance.code(one) == provenance.code(other)

"""Clusters as they are: nodes that come, die and go; and one that `ray up` makes over ssh."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.integration import apart

pytestmark = pytest.mark.slow


@pytest.mark.long
def test_a_sweep_makes_a_cluster_grow_and_shrink_and_half_its_nodes_may_die(tmp_path, capsys):
    apart.need()
    (tmp_path / "home").mkdir()
    said = apart.run("tests.integration.elastic", tmp_path / "home", tmp_path)
    found = json.loads(said.splitlines()[-1])
    with capsys.disabled():
        share = found["lost seconds"] / found["work"]
        print(
            f"\ntwo of four nodes killed: {found['lost trials']} of {found['trials']} trials begun again, "
            f"{found['lost seconds']:.1f} s of {found['work']:.0f} s of work lost ({share:.1%}); "
            f"nodes over time: {[count for _, count in found['timeline']]}"
        )
    assert found["trials"] == found["asked"] and found["rows"] == found["asked"], "every trial there once"
    assert found["killed"] == 2 and found["peak"] == 4
    assert found["peak after the kill"] == 4, "nodes that died are replaced while trials wait"
    assert found["at the end"] == 1, "one trial runs, the other nodes are given back"
    # A node has one trial at a time; what it had finished is kept.
    assert share < 0.1


@pytest.mark.long
def test_ray_up_over_ssh_a_sweep_from_the_head_as_a_job_and_as_a_script_and_ray_down(tmp_path):
    apart.need("sshd", "rsync", "ssh-keygen")
    home = tmp_path / "home"
    home.mkdir()
    said = apart.run("tests.integration.upanddown", home, tmp_path, timeout=300)
    found = json.loads(said.splitlines()[-1])
    assert found["rows"] == found["asked"] == 8
    assert "8 trials, 0 with a result" in found["exec"]
    assert "drivers 2" in found["exec"], "from the head the sweep ran on its cluster: it, and who asks"
    assert "8 with a result, 0 to run" in found["job"] and "succeeded" in found["job"]
    assert "8 with a result, 0 to run" in found["submit"]
    assert found["without the token"] != 0
    assert found["left"] == [], "ray down leaves no process"
    assert found["found afterwards"] is None, "nor a cluster that a launch would look for"
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    ).stdout.strip()
    assert found["revision"] == revision, "the head runs this checkout"

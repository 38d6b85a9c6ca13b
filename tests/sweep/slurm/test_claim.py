"""Two runs of one job after a node failed: the later takes the place of the earlier."""

import subprocess

from sweep.slurm import __main__ as inside
from sweep.slurm.allocation import Allocation
from sweep.slurm.claim import Claim

NEVER = float("inf")


def claim(folder, restarts, job="7"):
    return Claim(folder, Allocation(job, restarts, NEVER))


def test_a_later_run_takes_the_place_of_earlier_ones_and_not_of_other_jobs(tmp_path):
    first, again, other = claim(tmp_path, 0), claim(tmp_path, 1), claim(tmp_path, 0, job="8")
    first.take()
    assert not list(tmp_path.iterdir()), "a job that never ran again leaves nothing"
    again.take()
    assert first.lost() and not again.lost() and not other.lost()
    first.release()
    assert first.lost(), "an earlier run does not take the claim away"
    again.release()
    assert not list(tmp_path.iterdir())


def test_what_others_wrote_there_is_no_claim(tmp_path):
    (tmp_path / ".slurm-7").write_bytes(b"\xff\x00 17")
    assert not claim(tmp_path, 0).lost()


def test_a_claim_in_a_store(bucket):
    from sweep.store.places import place

    first, again = claim(place(bucket), 0), claim(place(bucket), 1)
    assert not first.lost()
    again.take()
    assert first.lost()
    again.release()
    assert not first.lost()


def test_an_earlier_run_ends_its_launch_when_a_later_one_has_begun(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(inside, "_LOOK", 0.0)
    claim(tmp_path, 1).take()
    run = inside.Inside(["x.yaml", "--results", str(tmp_path)], Allocation("7", 0, NEVER))
    with subprocess.Popen(["sleep", "60"]) as launch:
        run._watch(launch)
    assert launch.returncode == -15
    assert capsys.readouterr().err == "a later run of this job has begun elsewhere: this one ends\n"


def test_a_run_ends_its_launch_ahead_of_the_allocation(tmp_path, monkeypatch):
    run = inside.Inside(["x.yaml"], Allocation("7", 0, 0.0))
    with subprocess.Popen(["sleep", "60"]) as launch:
        run._watch(launch)
    assert launch.returncode == -15 and run.stop.is_set()


def test_a_job_that_runs_again_runs_no_trial_again():
    words = ["x.yaml", "--rerun", "sparsity > 0.9", "--retry-failed", "--max-hours=2", "-q"]
    first = inside.Inside(words, Allocation("7", 0, NEVER))
    again = inside.Inside(words, Allocation("7", 1, NEVER))
    assert first.words == [*words[:4], "-q"] and again.words == ["x.yaml", "-q"]
    assert first.hours == again.hours == 2


def test_a_job_of_an_array_knows_its_number():
    words = ["x.yaml", "--part", "%a/4"]
    assert inside.Inside(words, Allocation("12_3", 0, NEVER)).words == ["x.yaml", "--part", "3/4"]
    assert inside.Inside(words, Allocation("12", 0, NEVER)).words == words


def test_a_question_goes_on_in_the_queue_only_if_a_run_got_it_results():
    facts = {"ending": "time", "trials": 12, "ran": 12, "with_result": 12, "question": {"status": "goes on"}}
    run = inside.Inside(["x.yaml"], Allocation("7", 3, NEVER))
    assert run._unfinished(facts) and inside._rest(facts) == "the question has no answer"
    assert inside._finished(facts) == 0, "results of earlier runs are none of this one"
    assert inside._finished(facts | {"trials": 14}) == 2
    assert not run._unfinished(facts | {"question": {"status": "spent"}})

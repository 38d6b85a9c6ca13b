"""A question's trials: asked for as its planner wants them, whatever the engine does between."""

from datetime import UTC, datetime
from zlib import crc32

import pytest

from sweep.engine.asker import Asker, columns
from sweep.questions.planner import Wanted
from sweep.store import results
from sweep.study import load
from sweep.trial import Result
from tests.sweep.engine.test_reuse import result as made_up

STUDY = """\
name: ask
dataset: digits
model: conv-5
epochs: 2
question:
  crossover: {first: snip, second: random:erk, within: 0.25 decades, between: [0.8, 0.998]}
"""


def accuracy(trial):
    """SNIP is above up to about 0.98, and below from there on; seeds differ by less than arms do."""
    config = trial.config
    lead = 0.3 * (0.98 - config.sparsity) if config.criterion == "snip" else 0.0
    return 0.6 + lead + crc32(trial.canonical.encode()) % 97 / 1e5


def row(trial, **fields):
    own = {"status": "ok", "val_accuracy": accuracy(trial), "finished_at": datetime.now(UTC), "source": None}
    return trial.columns() | own | fields


@pytest.fixture
def study(study_file):
    return load(study_file(STUDY, "ask.yaml"))


def asking(study, tmp_path, known=(), **options):
    rows = {each["trial_id"]: each for each in known}
    return Asker(study, study.question, rows, tmp_path / "results" / "ask", **options)


def go(asker, at_once=1, judge=row, late=lambda trial: False):
    """Run it to its end, so many trials at a time; all that it ran. Late trials end when nothing else runs."""
    asker.begin(at_once)
    out, ran = [], []
    while True:
        while len(out) < at_once and (pack := asker.ask()):
            out += [job.trial for job in pack.jobs]
        if not out:
            return ran
        trial = min(out, key=lambda each: (late(each), out.index(each)))
        out.remove(trial)
        ran.append(trial)
        asker.tell(Result(judge(trial)))


def test_a_question_ends_with_its_bracket_and_goes_on_from_results_as_if_nothing_was(study, tmp_path):
    whole = asking(study, tmp_path)
    ran = go(whole)
    low, high = whole.conclude(spent=False).numbers["bracket"]
    assert 0.8 < low < 0.98 < high < 0.998 and len(set(ran)) == len(ran) == whole.ran
    for count in (1, 5, len(ran) - 1):
        again = asking(study, tmp_path, [row(trial) for trial in ran[:count]])
        assert [*ran[:count], *go(again)] == ran, f"killed after {count}"
    assert go(asking(study, tmp_path, [row(trial) for trial in reversed(ran)])) == []


def test_a_late_trial_holds_up_its_place_alone(study, tmp_path):
    first = study.question.trial(Wanted("snip", 0.8, 1))
    ran = go(asking(study, tmp_path), at_once=4, late=lambda trial: trial == first)
    waited = ran[: ran.index(first)]
    assert {trial.config.sparsity for trial in waited} >= {0.998} and len(waited) > 8


def test_no_more_trials_run_than_the_study_and_the_launch_allow(study, tmp_path, study_file):
    limited = load(study_file(STUDY + "  trials: 9\n", "ask.yaml"))
    some = asking(limited, tmp_path, most=5)
    ran = go(some, at_once=3)
    assert len(ran) == 5 and some.conclude(spent=False) is None and some.left == 0
    rest = asking(limited, tmp_path, [row(trial) for trial in ran])
    assert len(go(rest, at_once=3)) == 4 and rest.conclude(spent=False).status == "spent"
    others = [row(trial, source="elsewhere") for trial in ran]
    assert len(go(asking(limited, tmp_path, others))) == 9, "what others have run costs nothing"


def test_what_has_no_number_is_told_as_such(study, tmp_path):
    asker = asking(study, tmp_path)
    asker.begin(2)
    [one], [other] = asker.ask().jobs, asker.ask().jobs
    asker.tell(Result(row(one.trial, status="failed", val_accuracy=None)))
    asker.tell(Result(row(other.trial)))
    lost, kept = (asker.question.asked.wanted(row(job.trial)) for job in (one, other))
    assert asker.results[lost.arm, lost.place] == {lost.seed: None}
    assert asker.results[kept.arm, kept.place][kept.seed] == accuracy(other.trial)


def test_arms_that_train_alike_before_the_prune_are_one_pack(study_file, tmp_path):
    shared = load(study_file(STUDY.replace("epochs: 2", "epochs: 2\nprune_epoch: 1"), "ask.yaml"))
    asker = asking(shared, tmp_path)
    asker.begin(2)
    packs = [asker.ask(), asker.ask()]
    for pack in packs:
        first, *others = pack.jobs
        assert others and all(each.trial.config.trunk == first.trial.config.trunk for each in others)
        assert pack.saves == {first.saves[0].key} and others[0].path == first.saves
    assert len({job.trial for pack in packs for job in pack.jobs}) == asker.ran


def test_what_other_studies_have_is_taken_over_when_it_is_wanted(study, tmp_path):
    there = [study.question.trial(Wanted(arm, 0.8, seed)) for arm in study.question.arms for seed in range(3)]
    far = study.question.trial(Wanted("snip", 0.5, 0))
    other = tmp_path / "results" / "other"
    results.write(
        other, *zip(*(made_up(trial, val_accuracy=accuracy(trial)) for trial in [*there, far]), strict=True)
    )
    preview = asking(study, tmp_path, write=False)
    preview.look_up()
    assert preview.taken == {str(other): 6} and not (tmp_path / "results" / "ask").exists()
    asker = asking(study, tmp_path)
    ran = go(asker)
    assert not set(there) & set(ran) and asker.measured == len(ran) + 6 and asker.ran == len(ran)
    kept = results.finished(tmp_path / "results" / "ask", columns(study.question))
    assert kept.keys() == {trial.id for trial in there}
    assert {each["source"] for each in kept.values()} == {str(other)}

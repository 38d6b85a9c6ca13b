"""Results that other studies have: which are taken over, and what is left where it was."""

import re
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import analysis
from analysis import marking
from analysis.warehouse import unfinished
from sweep.engine import reuse
from sweep.errors import BadInput
from sweep.store import kept, parts, results
from sweep.store.places import Remote, place
from sweep.store.schema import SCHEMAS
from sweep.study import load
from tests.integration.launching import here
from tests.sweep.store.test_results import mask

STUDY = """\
dataset: digits
model: conv-5
epochs: 2
criterion: [random, snip]
sparsity: 0.9
seed: [0, 1]
"""
TRIALS = 4
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def path(study_file):
    return study_file(STUDY, "mine.yaml")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "results"


def result(trial, **columns):
    """All rows of a made-up result of a trial: its row of `trials`, and those of each other table."""
    row = {
        **trial.columns(), "status": "ok", "launch": "1234", "code": "abc", "node": "there", "device": "cpu",
        "test_accuracy": 0.5, "val_accuracy": 0.5, "started_at": BEGAN, "launched_at": BEGAN,
        "finished_at": BEGAN, "study": "other", **columns,
    }  # fmt: skip
    key = {"trial_id": row["trial_id"]}
    curve = key | {"phase": "retrain", "epoch": 1.0, "val_accuracy": 0.5}
    layer = key | {"layer": 0, "name": "a", "shape": [2, 3]}
    metric = {"split": "test", "value": 0.1, "higher_is_better": False}
    return (
        row,
        [curve],
        [layer],
        [key | metric | {"name": name} for name in ("ece", "nll")],
        [mask(row["trial_id"])],
    )


def write(folder, *rows):
    results.write(folder, *zip(*rows, strict=True))


def take(path, root, known=()):
    """Take over what a launch takes over. Returns the trials that are then without a result."""
    study = load(path)
    folder = root / study.name
    missing = [trial for trial in study.trials() if trial.id not in results.finished(folder)]
    for found in reuse.find(study, missing, folder, reuse.libraries(known)):
        reuse.take_over(found, folder)
    return [trial for trial in study.trials() if trial.id not in results.finished(folder)]


def snapshot(folder):
    return {file: (file.stat().st_mtime_ns, file.stat().st_ino) for file in folder.rglob("*")}


def test_a_success_of_another_study_is_taken_over_with_who_ran_it_and_where_it_comes_from(path, root):
    trials = load(path).trials()
    write(root / "other", *map(result, trials[:3]))
    before = snapshot(root / "other")
    assert take(path, root) == trials[3:]
    assert snapshot(root / "other") == before
    mine = pa.concat_tables(pq.read_table(part) for part in (root / "mine" / "trials").iterdir()).to_pylist()
    assert sorted(row["trial_id"] for row in mine) == sorted(trial.id for trial in trials[:3])
    for row in mine:
        expected = ("mine", str(root / "other"), "1234", "abc", "there", "cpu", BEGAN, BEGAN)
        names = ("study", "source", "launch", "code", "node", "device", "started_at", "finished_at")
        assert tuple(row[name] for name in names) == expected
    connection = analysis.open(root / "mine")
    for table in ("curves", "layers"):
        [(count,)] = connection.execute(f"SELECT count(DISTINCT trial_id) FROM {table}").fetchall()
        assert count == 3


def test_taking_over_twice_takes_nothing_the_second_time(path, root):
    write(root / "other", *map(result, load(path).trials()))
    assert take(path, root) == []
    before = snapshot(root / "mine")
    assert take(path, root) == [] and snapshot(root / "mine") == before


@pytest.mark.parametrize("status", ["failed", "diverged", "stopped"])
def test_what_did_not_succeed_is_run_again(path, root, status):
    trials = load(path).trials()
    write(root / "other", *(result(trial, status=status) for trial in trials))
    assert take(path, root) == trials


@pytest.mark.slow
def test_of_several_successes_in_a_folder_the_latest_is_taken_over(path, root):
    trials = load(path).trials()
    for hours, accuracy in ((1, 0.2), (3, 0.4), (2, 0.3)):
        late = BEGAN + timedelta(hours=hours)
        write(root / "other", *(result(trial, finished_at=late, test_accuracy=accuracy) for trial in trials))
    assert take(path, root) == []
    query = "SELECT DISTINCT test_accuracy FROM trials"
    assert analysis.open(root / "mine").execute(query).fetchall() == [(0.4,)]


@pytest.mark.slow
def test_libraries_come_after_the_studies_beside_and_are_never_written_to(path, root, tmp_path):
    trials = load(path).trials()
    write(root / "other", result(trials[0]))
    library, one_study = tmp_path / "library", tmp_path / "lent"
    write(library / "first", *map(result, trials[:2]))
    write(one_study, *map(result, trials[:3]))
    before = snapshot(library) | snapshot(one_study)
    assert take(path, root, [str(library), str(one_study)]) == trials[3:]
    assert snapshot(library) | snapshot(one_study) == before
    sources = analysis.open(root / "mine").execute("SELECT trial_id, source FROM trials").fetchall()
    folders = (root / "other", library / "first", one_study)
    assert dict(sources) == {t.id: str(folder) for t, folder in zip(trials, folders, strict=False)}


@pytest.mark.slow
def test_a_library_in_a_bucket_is_read_and_named_without_the_options_of_its_address(path, root, bucket):
    trials = load(path).trials()
    library = place(f"{bucket}/lab")
    write(library / "first", *map(result, trials[:3]))
    before = sorted(each.path for table in SCHEMAS for each in (library / "first" / table).iterdir())
    assert take(path, root, [f"{bucket}/lab?region=us-east-1"]) == trials[3:]
    after = sorted(each.path for table in SCHEMAS for each in (library / "first" / table).iterdir())
    assert before == after and [each.name for each in library.iterdir()] == ["first"]
    sources = analysis.open(root / "mine").execute("SELECT DISTINCT source FROM trials").fetchall()
    assert sources == [(f"{bucket}/lab/first",)]


@pytest.mark.slow
def test_of_a_large_object_in_a_bucket_two_columns_are_read_and_of_a_damaged_one_all(
    path, root, bucket, monkeypatch, capfd
):
    trials = load(path).trials()
    folder = place(f"{bucket}/lab/first")
    write(folder, *(result(trial, status="failed") for trial in trials))
    study, libraries = load(path), reuse.libraries([f"{bucket}/lab"])
    monkeypatch.setattr(reuse, "_LARGE", 0)
    with monkeypatch.context() as patched:
        patched.setattr(Remote, "read_bytes", None)
        assert reuse.find(study, trials, root / "mine", libraries) == []
    write(folder, *map(result, trials))
    bad = folder / "trials" / "part-0.parquet"
    bad.write_bytes(b"PAR1 nothing PAR1")
    [found] = reuse.find(study, trials, root / "mine", libraries)
    assert len(found.trials) == TRIALS
    assert capfd.readouterr().err.count(f"{bad}: not a part of these results") == 1


def test_a_library_that_does_not_exist_is_one_line(tmp_path):
    with pytest.raises(BadInput, match=r"--known .*nowhere: no such folder of results"):
        reuse.libraries([str(tmp_path / "nowhere")])


def test_a_row_counts_only_if_its_config_is_that_of_its_id(path, root):
    trials = load(path).trials()
    other = trials[1].columns()
    write(root / "other", result(trials[0], config=other["config"]))
    assert take(path, root) == trials


def test_what_else_a_row_says_of_its_trial_is_not_believed(path, root):
    trial = load(path).trials()[0]
    lies = {"criterion": "snip\x1b[2J", "sparsity": 7.0, "seed": None, "arm": "{}", "source": "\x1b[2J"}
    write(root / "other", result(trial, **lies))
    assert trial not in take(path, root)
    truth = trial.columns() | {"source": str(root / "other")}
    query = f"SELECT {', '.join(truth)} FROM trials"
    assert analysis.open(root / "mine").execute(query).fetchall() == [tuple(truth.values())]


@pytest.mark.parametrize("table", ["curves", "layers"])
def test_a_trial_that_lacks_rows_is_run_again(path, root, table):
    trials = load(path).trials()
    write(root / "other", *map(result, trials))
    [part] = (root / "other" / table).iterdir()
    rows = pq.read_table(part)
    pq.write_table(rows.filter(pa.compute.field("trial_id") != trials[2].id), part)
    assert take(path, root) == [trials[2]]


def test_a_damaged_part_is_named_and_the_others_are_taken_over(path, root, capfd):
    trials = load(path).trials()
    write(root / "other", *map(result, trials))
    bad = root / "other" / "trials" / "part-0.parquet"
    bad.write_bytes(b"PAR1 nothing PAR1")
    assert take(path, root) == []
    assert capfd.readouterr().err.count(f"{bad}: not a part of these results") == 1


def test_rows_that_another_program_has_rewritten_are_taken_over(path, root):
    trials = load(path).trials()
    write(root / "other", *map(result, trials))
    [part] = (root / "other" / "trials").iterdir()
    rows = pq.read_table(part)
    for name in ("status", "trial_id"):
        place_of = rows.schema.get_field_index(name)
        rows = rows.set_column(place_of, name, rows[name].cast(pa.large_string()).dictionary_encode())
    pq.write_table(rows.select(rows.column_names[::-1]), part)
    assert take(path, root) == []


def test_metrics_that_the_study_asks_for_are_needed_and_others_are_left(study_file, root):
    asking = study_file(STUDY + "metrics: [nll]\n", "mine.yaml")
    trials = load(asking).trials()
    rows = [result(trial) for trial in trials]
    rows[1] = (*rows[1][:3], rows[1][3][:1], [])  # without nll
    write(root / "other", *rows)
    assert take(asking, root) == [trials[1]]
    names = analysis.open(root / "mine").execute("SELECT DISTINCT name FROM metrics").fetchall()
    assert names == [("nll",)]


def test_what_the_study_keeps_is_taken_over_and_a_trial_without_it_runs(study_file, root):
    keeping = study_file(STUDY + "keep: weights\n", "mine.yaml")
    trials = load(keeping).trials()
    rows = [result(trial) for trial in trials]
    rows[0] = (*rows[0][:4], [])  # without masks
    write(root / "other", *rows)
    for trial in trials[:3]:
        kept.write(root / "other", trial.id, trial.id.encode())
    assert take(keeping, root) == [trials[0], trials[3]]
    own = root / "mine"
    assert kept.Keep.WEIGHTS.of(own) == {trial.id for trial in trials[1:3]}
    assert kept.file(own, trials[1].id).read_bytes() == trials[1].id.encode()
    plain = study_file(STUDY, "plain.yaml")
    assert take(plain, root) == [] and not (root / "plain" / "masks").exists()


def test_a_launch_says_what_is_not_kept_and_how_it_comes(study_file, root):
    trials = load(study_file(STUDY, "mine.yaml")).trials()
    rows = [result(trial) for trial in trials]
    write(root / "mine", rows[0], *((*each[:4], []) for each in rows[1:]))
    words = study_file(STUDY, "mine.yaml"), "--results", root, "--set", "keep=masks", "--dry-run"
    code, out, err = here(*words)
    assert (code, err) == (0, "") and "4 with a result, 0 to run" in out
    [rerun] = re.findall(
        r'^3 finished before masks were kept, and are not run again: --rerun "(.*)" runs', out, re.M
    )
    code, out, err = here(*words, "--rerun", rerun)
    assert (code, err) == (0, "") and "1 with a result, 3 to run" in out and "without masks" not in out


@pytest.mark.slow
@pytest.mark.parametrize("table", [*SCHEMAS])
def test_a_crash_while_results_are_taken_over_loses_nothing_and_leaves_no_half_trial(
    study_file, root, monkeypatch, table
):
    path = study_file(STUDY + "metrics: [ece]\nkeep: masks\n", "mine.yaml")
    trials = load(path).trials()
    write(root / "other", *map(result, trials))
    before, real = snapshot(root / "other"), results.write_part

    def full(folder, name, rows):
        if name == table:
            raise OSError(28, "No space left on device")
        return real(folder, name, rows)

    monkeypatch.setattr(results, "write_part", full)
    with pytest.raises(BadInput, match=r"No space left on device: results of .*other cannot be written"):
        take(path, root)
    assert results.finished(root / "mine") == {} and snapshot(root / "other") == before
    monkeypatch.undo()
    assert take(path, root) == []
    connection = analysis.open(root / "mine")
    for name in SCHEMAS:
        assert connection.execute(f"SELECT count(*) FROM {name}").fetchall() == [(TRIALS,)]


def test_folders_without_a_wanted_trial_are_read_no_further_than_two_columns(path, root, monkeypatch):
    theirs = load(path).trials()
    write(root / "other", *(result(trial, status="failed") for trial in theirs))
    monkeypatch.setattr(parts, "read_rows", None)
    study = load(path)
    assert reuse.find(study, theirs, root / "mine", ()) == []


@pytest.mark.slow
def test_a_launch_says_what_it_takes_over_and_a_dry_run_takes_nothing(path, root):
    trials = load(path).trials()
    write(root / "other", *map(result, trials))
    said = f"mine: 4 trials, 0 with a result, 4 taken over from other ({root / 'other'}), 0 to run\n"
    code, out, err = here(path, "--results", root, "--dry-run")
    assert (code, err) == (0, "") and out.startswith(said) and not (root / "mine").exists()
    code, out, err = here(path, "--results", root)
    assert (code, err) == (0, "") and out.startswith(said)
    code, out, err = here(path, "--results", root)
    assert (code, err) == (0, "") and "mine: 4 trials, 4 with a result, 0 to run" in out
    assert unfinished(analysis.open(root)) == {}


def test_a_failed_trial_that_is_to_run_again_is_taken_over(path, root):
    trials = load(path).trials()
    write(root / "mine", *(result(trial, status="failed") for trial in trials))
    write(root / "other", *map(result, trials))
    code, out, _ = here(path, "--results", root, "--dry-run")
    assert code == 0 and "4 with a result, 0 to run" in out
    code, out, _ = here(path, "--results", root, "--retry-failed")
    assert code == 0 and "0 with a result, 4 taken over" in out
    assert {row["status"] for row in results.finished(root / "mine").values()} == {"ok"}


def test_of_many_sources_a_launch_names_three(path, root, tmp_path):
    for number, trial in enumerate(load(path).trials()):
        write(root / f"other-{number}", result(trial))
    _, out, _ = here(path, "--results", root, "--dry-run")
    assert "1 taken over from other-2 (" in out and ", 1 from 1 more, 0 to run" in out


@pytest.mark.slow
def test_what_is_marked_as_invalid_elsewhere_is_not_taken_over(path, root):
    trials = load(path).trials()
    write(root / "other", *(result(trial) for trial in trials))
    mark, _ = marking.put(str(root), "invalid", "criterion = 'snip'")
    assert len(take(path, root)) == TRIALS // 2
    marking.take_back(str(root), mark)
    assert not take(path, root)

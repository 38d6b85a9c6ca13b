import json
import subprocess
import sys

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import analysis
from analysis.report import report
from analysis.warehouse import narrowed_studies, shell, unfinished
from sweep.errors import BadInput
from sweep.store import launches, results
from sweep.store.schema import SCHEMAS
from tests.analysis.conftest import LATER, trial


def count(connection, what="trials"):
    return connection.execute(f"SELECT count(*) FROM {what}").fetchone()[0]


@pytest.mark.slow
def test_a_study_and_the_folder_of_all_studies_both_open(made):
    assert count(analysis.open(made)) == count(analysis.open(made.parent)) == 45
    results.write(made.parent / "other", [trial("x", study="other")], [[]], [[]])
    assert count(analysis.open(made.parent)) == 46


def test_a_trial_is_there_once_and_success_wins_then_the_latest(made, add):
    now = trial("x")["finished_at"]
    add(trial("x", test_accuracy=0.1), trial("x", status="failed", finished_at=now + LATER))
    add(
        trial("y", status="failed", error="first"),
        trial("y", status="failed", error="again", finished_at=now + LATER),
    )
    found = analysis.open(made).execute(
        "SELECT trial_id, status, error FROM trials WHERE trial_id IN ('x', 'y')"
    )
    assert sorted(found.fetchall()) == [("x", "ok", None), ("y", "failed", "again")]


@pytest.mark.slow
def test_a_trial_that_a_study_took_over_is_there_once_and_seen_from_both_studies(made):
    curve = {"trial_id": "x", "phase": "retrain", "epoch": 1.0}
    own = trial("x", criterion="mag", seed=77)
    for study, source in (("after", "results/made"), ("made", None), ("zenith", "results/after")):
        row = own | {"study": study, "source": source}
        results.write(made.parent / study, [row], [[curve]], [[]])
    connection = analysis.open(made.parent)
    assert count(connection) == 46 and count(connection, "curves") == 1
    query = "SELECT study, source FROM trials WHERE trial_id = 'x'"
    assert connection.execute(query).fetchall() == [("made", None)]
    for study, source, trials in (
        ("after", "results/made", 1),
        ("made", None, 46),
        ("zenith", "results/after", 1),
    ):
        narrowed = analysis.open(made.parent, study=study)
        assert narrowed.execute(query).fetchall() == [(study, source)]
        assert count(narrowed) == trials and count(narrowed, "curves") == 1
        assert narrowed_studies(narrowed) == {study}
        assert count(analysis.open(made.parent, study=study, where="seed = 77")) == 1


def test_curves_and_layers_are_there_once(made):
    curve = {"trial_id": "x", "phase": "retrain", "epoch": 1.0}
    layer = {"trial_id": "x", "layer": 0, "name": "a"}
    for _ in range(2):
        results.write(made, [trial("x")], [[curve]], [[layer]])
    connection = analysis.open(made)
    assert count(connection, "curves") == count(connection, "layers") == 1


def test_results_without_a_trial_have_all_columns_and_no_row(tmp_path):
    connection = analysis.open(tmp_path)
    for table, schema in SCHEMAS.items():
        columns = [*schema.names, *(["tags"] if table == "trials" else [])]
        assert [column[0] for column in connection.execute(f"DESCRIBE {table}").fetchall()] == columns
        assert count(connection, table) == 0


def test_a_running_study_is_seen_growing(made, add):
    connection = analysis.open(made)
    add(trial("new"))
    assert count(connection) == 46


def test_folders_with_odd_names_are_read(made, tmp_path):
    odd = tmp_path / "it's [1] *" / "seed=7"
    odd.parent.mkdir()
    made.rename(odd)
    assert count(analysis.open(odd), "(SELECT DISTINCT seed FROM trials)") == 3


@pytest.mark.parametrize("table", ["trials", "curves", "layers"])
@pytest.mark.parametrize("what", ["damaged", "foreign", "another type", "empty"])
def test_a_part_that_is_none_is_named_in_one_line_and_left_aside(made, table, what, capfd):
    part = made / table / "part-0.parquet"
    part.parent.mkdir(exist_ok=True)
    if what == "damaged":
        part.write_bytes(next((made / "trials").glob("part-*")).read_bytes()[:-100])
    elif what == "empty":
        part.touch()
    elif what == "foreign":
        pq.write_table(pa.table({"price": [1.0]}), part)
    else:
        row = {**dict.fromkeys(SCHEMAS[table].names), "trial_id": 7}
        pq.write_table(pa.table({name: [value] for name, value in row.items()}), part)
    connection = analysis.open(made)
    assert count(connection) == 45 and count(connection, table) == (45 if table == "trials" else 0)
    [line] = capfd.readouterr().err.splitlines()
    assert str(part) in line and line.endswith("left aside; move it away")


def test_parts_with_older_and_newer_columns_are_read_together(made, capfd):
    part = next((made / "trials").glob("part-*"))
    older = pq.read_table(part).drop_columns(["pack", "steps"])
    newer = older.slice(0, 1).append_column("of_tomorrow", [[7]]).set_column(0, "trial_id", [["new"]])
    pq.write_table(older, part)
    pq.write_table(newer, part.with_name("part-1.parquet"))
    connection = analysis.open(made)
    assert count(connection) == 46 and capfd.readouterr().err == ""
    assert connection.execute("SELECT of_tomorrow FROM trials WHERE trial_id = 'new'").fetchall() == [(7,)]


@pytest.mark.slow
def test_filters_narrow_every_view(made):
    results.write(made, [trial("x", seed=77)], [[{"trial_id": "x", "phase": "retrain", "epoch": 1.0}]], [[]])
    one = analysis.open(made.parent, study="made", where="seed = 77 -- or not")
    assert count(one) == count(one, "curves") == 1
    assert count(analysis.open(made, where="seed < 77"), "curves") == 0


@pytest.mark.parametrize(
    "where",
    ["seed =", "nonsense > 1", "1); DROP VIEW trials; (1", "seed IN (FROM read_csv('/etc/passwd'))", ""],
)
def test_a_condition_that_is_none_is_one_line(made, where):
    with pytest.raises(BadInput, match="--where"):
        analysis.open(made, where=where)


@pytest.mark.slow
def test_a_condition_with_a_query_in_it_is_one_line(made):
    for query in ("SELECT max(sparsity) FROM trials", "SELECT 0.9 FROM curves"):
        with pytest.raises(BadInput, match="without a query in it"):
            analysis.open(made, where=f"sparsity IN ({query})")


def test_a_study_may_be_called_as_a_table_is(made):
    made.rename(made.with_name("trials"))
    assert analysis.open(made.parent).execute("SELECT count(*) FROM trials").fetchone() == (45,)


def test_a_study_that_is_not_there_names_those_that_are(made):
    with pytest.raises(BadInput, match="--study other: no trials of it here; there are: made"):
        analysis.open(made, study="other")


def test_a_missing_folder_is_one_line(tmp_path):
    with pytest.raises(BadInput, match="no such folder; run a study first"):
        analysis.open(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "COPY trials TO 'stolen.csv'",
        "ATTACH 'other.db'",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/etc/*')",
        "EXPLAIN ANALYZE COPY trials TO 'part-1.csv'",
        "WITH x AS (SELECT 1) INSERT INTO no_trials SELECT * FROM trials",
        "PRAGMA database_list",
        "SET VARIABLE x = 1",
        "RESET allowed_directories",
        "CALL pragma_version()",
        "EXPORT DATABASE 'x'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 1",
        "CREATE TABLE x AS FROM trials",
        "DROP VIEW trials",
        "SELECT 1; DROP VIEW trials",
        "SELECT nonsense FROM trials",
        "SELEC 1",
        "",
        "SELECT cast(criterion AS INT) FROM trials",
    ],
)
def test_queries_only_read_results(sql, made):
    with pytest.raises(BadInput):
        shell.show(analysis.open(made), sql)


def test_files_outside_the_results_are_out_of_reach_even_without_our_check(made):
    with pytest.raises(duckdb.PermissionException):
        analysis.open(made).execute("COPY trials TO '/tmp/stolen.csv'")


@pytest.mark.slow
def test_importing_analysis_imports_neither_torch_nor_ray():
    code = "import analysis, analysis.questions.crossover, sys; print({'torch', 'ray'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


@pytest.mark.slow
@pytest.mark.parametrize("columns", ["same", "older", "foreign"])
def test_hundreds_of_small_parts_are_read_as_few_are(made, columns, capfd, monkeypatch):
    parts = 450 if columns == "same" else 60
    if parts < 300:  # from fewer on, which takes less time
        monkeypatch.setattr("analysis.warehouse.views._MANY", 40)
    part = next((made / "trials").glob("part-*"))
    rows = pq.read_table(part)
    part.unlink()
    for index in range(parts):
        one = rows.slice(index % 45, 1)
        if columns == "older" and index < 10:
            one = one.drop_columns(["pack"])
        if columns == "foreign" and index == parts - 1:
            one = pa.table({"price": [1.0]})
        pq.write_table(one, part.with_name(f"part-{index:05d}.parquet"))
    connection = analysis.open(made)
    assert count(connection) == 45
    found = [name for name, *_ in connection.execute("FROM trials").description]
    assert found == [*rows.column_names, "tags"]
    assert len(capfd.readouterr().err.splitlines()) == (columns == "foreign")


BEGAN = trial("x")["finished_at"]


def launched(folder, began=BEGAN, **counts):
    launches.note_launch(folder, folder.name, "", {"started_at": began.isoformat(), **counts})


@pytest.mark.slow
def test_a_study_whose_latest_launch_misses_trials_is_unfinished(made, add):
    """45 trials ended as it began; what a retry does again is not one more."""
    launched(made, trials=80, to_run=80)
    for folder in (made, made.parent):
        assert unfinished(analysis.open(folder)) == {"made": (45, 80)}
    assert "Provisional: 45 of 80 trials of made." in report.render(analysis.open(made), made)
    later = BEGAN + LATER
    launched(made, later, trials=50, to_run=3)
    assert unfinished(analysis.open(made)) == {"made": (47, 50)}
    connection = analysis.open(made)
    add(trial("a", finished_at=later, test_accuracy=0.5), trial("b", finished_at=later, status="failed"))
    add(
        trial("a", finished_at=later + LATER, test_accuracy=0.5),
        trial("c", finished_at=later, status="stopped"),
    )
    assert unfinished(connection) == {"made": (49, 50)}
    add(trial("d", finished_at=later, status="diverged"))
    assert unfinished(connection) == {}
    assert "Provisional" not in report.render(connection, made)


def test_which_launch_ran_a_trial_is_not_read_off_the_clocks_of_nodes(made, add):
    """One node is a day behind and another a day ahead; in between, the launch before came from elsewhere."""
    began, before = BEGAN + LATER, BEGAN + 2 * LATER
    late, early = BEGAN - 50 * LATER, BEGAN + 50 * LATER
    launched(made, began, trials=49, to_run=3)
    add(trial("ahead", launched_at=before, finished_at=early))
    connection = analysis.open(made)
    add(trial("a", launched_at=began, finished_at=late))
    assert unfinished(connection) == {"made": (47, 49)}
    add(trial("b", launched_at=began, finished_at=early))
    add(trial("c", launched_at=began, finished_at=late, status="failed"))
    assert unfinished(connection) == {}


def test_the_parts_of_a_launch_are_one_launch(made, add):
    """Each part's entry counts the trials of all; the rows of every part count, and those of no other launch."""
    first, second, before = BEGAN + LATER, BEGAN + 2 * LATER, BEGAN + 3 * LATER
    launched(made, before, trials=49, to_run=4)
    for number, began, to_run in ((1, first, 4), (2, second, 3)):
        part = {"launch": f"{number}" * 12, "part": f"{number}/2", "division": "ab", "to_run": to_run}
        entry = {"started_at": began.isoformat(), "trials": 49, **part}
        launches.note_launch(made, "made", "", entry, alone=False)
    add(trial("elsewhere", launched_at=before), trial("a", launched_at=first))
    connection = analysis.open(made)
    assert unfinished(connection) == {"made": (46, 49)}
    add(trial("b", launched_at=second), trial("c", launched_at=first), trial("d", launched_at=second))
    assert unfinished(connection) == {}
    launches.gather(made)
    assert unfinished(analysis.open(made)) == {}


@pytest.mark.slow
def test_what_is_unfinished_is_the_study_whatever_is_left_of_its_trials(made):
    launched(made, trials=80, to_run=80)
    other = made.parent / "other"
    results.write(other, [trial("y", study="other")], [[]], [[]])
    launched(other, trials=1, to_run=1)
    assert unfinished(analysis.open(made.parent)) == {"made": (45, 80)}
    assert unfinished(analysis.open(made.parent, where="seed = 0 AND study = 'made'")) == {"made": (45, 80)}
    assert unfinished(analysis.open(made.parent, study="other")) == {}


@pytest.mark.slow
def test_trials_that_another_study_ran_later_were_run_for_both(made):
    """The view of all studies shows them under the other."""
    launched(made, trials=45, to_run=45)
    rows = analysis.open(made).execute("SELECT trial_id FROM trials LIMIT 5").fetchall()
    again = [trial(name, study="other", finished_at=BEGAN + LATER) for (name,) in rows]
    results.write(made.parent / "other", again, [[]], [[]])
    assert unfinished(analysis.open(made.parent)) == {}


@pytest.mark.parametrize(
    "launch",
    [
        {},
        {"trials": 80},
        {"trials": "80", "to_run": "80"},
        {"trials": 80, "to_run": 81},
        {"trials": 80, "to_run": -1},
        {"trials": 10**30, "to_run": 80},
        {"trials": True, "to_run": True},
        {"trials": 80, "to_run": 80, "started_at": "yesterday"},
        {"trials": 80, "to_run": 80, "started_at": "2026-01-01"},
        [],
    ],
)
def test_nothing_is_known_of_a_study_that_does_not_say_how_many_trials_it_has(made, launch):
    if isinstance(launch, dict):
        launch = {"started_at": BEGAN.isoformat(), **launch}
    (made / "study.json").write_text(json.dumps({"study": "made", "launches": [launch]}))
    assert unfinished(analysis.open(made)) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", "[" * 100_000, '{"study": "made", "launches": []}', '{"study": "\\ud800"}', "\0"],
)
def test_a_damaged_study_file_keeps_nothing_from_being_asked(made, text):
    (made / "study.json").write_text(text)
    assert unfinished(analysis.open(made)) == {} and count(analysis.open(made)) == 45
    whole = {"started_at": BEGAN.isoformat(), "trials": 9, "to_run": 9}
    (made / "study.json").write_text(json.dumps({"study": "\ud800", "launches": [whole]}))
    assert unfinished(analysis.open(made)) == {}


def test_a_study_file_of_any_size_is_not_read(made):
    launched(made, trials=80, to_run=80)
    with (made / "study.json").open("a") as file:
        file.truncate(2**26 + 1)
    assert unfinished(analysis.open(made)) == {}

"""What running trials leave beside the results: who removes it, and when."""

import threading

from sweep.store import running
from sweep.store.writer import Writer

ONE, TWO, THREE = "1" * 16, "2" * 16, "3" * 16


def leave(folder, *trials):
    for trial in trials:
        running.show(folder, trial, {"trial_id": trial})
        (folder / f"{trial}-0123456789abcdef-cpu.pt").write_bytes(b"checkpoint")


def names(folder):
    return sorted(path.name[:4] + path.suffix for path in folder.iterdir())


def test_a_trial_with_a_result_leaves_nothing(tmp_path):
    leave(tmp_path, ONE, TWO)
    assert running.trials(tmp_path) == {ONE, TWO}
    running.remove(tmp_path, ONE)
    assert names(tmp_path) == ["2222.json", "2222.pt"] and running.trials(tmp_path) == {TWO}
    running.remove(tmp_path / "missing", ONE)
    assert running.trials(tmp_path / "missing") == set()


def test_a_launch_keeps_the_checkpoints_of_trials_without_a_result_and_nothing_else(tmp_path):
    """Nothing runs when a launch begins: curves are of the past, and unfinished files of dead workers."""
    folder = tmp_path / "running"
    leave(folder, ONE, TWO, THREE)
    (folder / f".{TWO}-0123456789abcdef-cpu.pt.1234abcd").write_bytes(b"half")
    (folder / "strange").write_text("")
    (folder / "folder").mkdir()
    running.clean(folder, lambda: {TWO})
    assert names(folder) == ["2222.pt", "fold"]
    (folder / "folder").rmdir()
    running.clean(folder)
    assert not folder.exists()
    folder.mkdir()
    running.clean(folder)
    assert not folder.exists(), "an empty one neither"
    running.clean(folder, lambda: 1 / 0)  # nobody is asked where there is nothing


def test_trials_are_told_of_when_their_results_are_on_disk(tmp_path):
    told, came = [], threading.Event()

    def written(trials):
        told.extend(trials)
        assert list((tmp_path / "trials").glob("part-*.parquet"))
        came.set()

    writer = Writer(tmp_path, "small", written)
    writer.add({"trial_id": ONE, "status": "ok"}, [], [])
    assert came.wait(30)
    writer.add({"trial_id": TWO, "status": "ok"}, [], [])
    writer.close()
    assert told == [ONE, TWO]

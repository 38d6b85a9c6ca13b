import itertools
import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import analysis
from analysis.warehouse import unfinished
from sweep.data import catalog
from sweep.errors import ONE_LINE, BadInput, StoreError
from sweep.store import compaction, launches, lease, places, remote, results
from sweep.store.places import Remote, place, put
from sweep.store.results import finished
from sweep.store.states import Claims, Store
from sweep.store.writer import Writer, send
from tests import stores
from tests.analysis.conftest import trial


# Azure's client often waits for seconds before it sees that its emulator's answer was whole.
@pytest.fixture(params=["s3", "gs", pytest.param("az", marks=pytest.mark.long)])
def server(request):
    """A kind of store, and the port of its server."""
    return request.param, request.getfixturevalue(f"{request.param}_port")


@pytest.fixture
def bucket(server, monkeypatch, tmp_path):
    """The URI of a new bucket of each kind, and an environment in which it is found."""
    reached(monkeypatch, *server)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    scheme, port = server
    return stores.bucket(port, scheme)


def reached(monkeypatch, scheme, port):
    for name, value in stores.environment(port, scheme).items():
        monkeypatch.setenv(name, value)


# At times Azure's client waits for 7 seconds before it sees that its emulator's answer was whole.
in_time = pytest.mark.parametrize("server", ["s3", "gs"], indirect=True)
# Of one kind: while it reads from Google's, pyarrow lets no other thread run, such as what stands in its way.
of_s3 = pytest.mark.parametrize("server", ["s3"], indirect=True)


def text(words):
    return lambda file: file.write(words.encode())


@pytest.mark.slow
def test_a_prefix_is_used_as_a_folder_is(bucket, tmp_path):
    for root in (tmp_path / "results", place(f"{bucket}/results")):
        assert not root.exists() and list(root.glob("*")) == []
        put(root / "study" / "part-1.txt", text("one"))
        put(root / "study" / "part-2.txt", text("two"))
        put(root / "study" / "part-2.txt", text("three"))
        put(root / "notes", text(""))
        assert root.exists() and (root / "study").exists() and not (root / "stud").exists()
        assert (root / "study").is_dir() and not (root / "stud").is_dir()
        assert (root / "study").resolve() == root / "study"
        assert sorted(each.name for each in root.iterdir()) == ["notes", "study"]
        assert sorted(each.name for each in (root / "study").glob("part-*.txt")) == [
            "part-1.txt",
            "part-2.txt",
        ]
        assert sorted(each.parent.name for each in root.glob("*/part-*")) == ["study", "study"]
        assert (root / "study" / "part-2.txt").read_bytes() == b"three"
        with (root / "study" / "part-1.txt").open("rb") as file:
            assert file.read() == b"one"
        assert places.is_plain(root / "study" / "part-1.txt")
        with pytest.raises(FileNotFoundError):
            (root / "study" / "part-3.txt").read_bytes()
        listed = [root / "study" / f"part-{number}.txt" for number in (1, 3, 2)]
        for each, readable in zip(listed, places.readable_all(listed), strict=True):
            if root == tmp_path / "results":
                assert readable == each, "a reader opens a file by itself"
            elif each.name == "part-3.txt":
                assert isinstance(readable, FileNotFoundError)
            else:
                assert readable == each.read_bytes()
        with pytest.raises(FileNotFoundError):
            (root / "study" / "part-3.txt").unlink()
        with pytest.raises(OSError, match="not empty"):
            (root / "study").rmdir()
        for each in (root / "study").iterdir():
            each.unlink()
        (root / "study").rmdir()
        assert not (root / "study").exists()


def test_a_place_is_a_folder_or_a_store():
    assert place("file:///tmp/x") == Path("/tmp/x") and place("results") == Path("results")
    assert str(place("s3://b/x/y?region=eu-west-1") / "z") == "s3://b/x/y/z?region=eu-west-1"
    assert places.absolute("s3://b/x/") == "s3://b/x"
    for wrong, why in (("ftp://b/x", "lie in a folder, or at s3, gs, az://"), ("s3:///x", "name a bucket")):
        with pytest.raises(BadInput, match=why):
            place(wrong)


def test_what_is_missing_to_reach_azure_is_one_line(monkeypatch):
    for name in ("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_SERVICE_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BadInput, match="export AZURE_STORAGE_ACCOUNT=NAME"):
        place("az://some/x").exists()
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "ours")
    monkeypatch.setenv("AZURE_STORAGE_SERVICE_ENDPOINT", "https://ours.blob.core.windows.net/")
    with pytest.raises(BadInput, match="for Azure itself leave it out"):
        place("az://other/x").exists()


@pytest.mark.slow
@of_s3
@pytest.mark.parametrize("fault", stores.FAULTS)
def test_a_store_that_is_away_for_seconds_is_asked_again_and_one_that_stays_away_is_one_line(
    fault, bucket, server, monkeypatch
):
    scheme, port = server
    way = stores.Way(port)
    reached(monkeypatch, scheme, way.own)
    there = replace(place(bucket), patience=20.0) / "results" / "x"
    there.write_bytes(b"before")
    way.breaks(fault)
    threading.Timer(1, way.breaks, [None]).start()
    began = time.monotonic()
    there.write_bytes(b"after")
    assert 0.8 < time.monotonic() - began < 19 and there.read_bytes() == b"after"
    way.breaks(fault)
    began = time.monotonic()
    with pytest.raises(StoreError) as told:
        replace(there, patience=1.0).read_bytes()
    assert 0.8 < time.monotonic() - began < 12
    assert str(told.value).startswith(f"{there}: ") and "\n" not in str(told.value)


@pytest.mark.slow
def test_what_will_not_change_is_said_at_once(bucket, server):
    scheme, _ = server
    said = {
        "s3": "NO_SUCH_BUCKET",
        "gs": "gs://nobodys-bucket: the store has no such bucket",
        "az": "ContainerNotFound",
    }
    began = time.monotonic()
    with pytest.raises(StoreError, match=said[scheme]):
        put(place(f"{scheme}://nobodys-bucket/x"), text("x"))
    assert time.monotonic() - began < (15 if scheme == "az" else 3), "without all patience"


@pytest.mark.slow
def test_parts_in_a_store_are_written_merged_and_read(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(compaction, "_MANY_PARTS", 2)
    folder = place(f"{bucket}/results/made")
    for seed in range(3):
        row = trial(str(seed), seed=seed, test_accuracy=0.5)
        layer = {"trial_id": str(seed), "layer": 0, "name": "a", "shape": [2, seed]}
        curve = {"trial_id": str(seed), "phase": "retrain", "epoch": 1.0}
        metric = {
            "trial_id": str(seed),
            "name": "ece",
            "split": "test",
            "value": 0.1 * seed,
            "higher_is_better": False,
        }
        results.write(folder, [row], [[curve]], [[layer]], [[metric]])
    launches.note_launch(folder, "made", "name: made", {"n": 1})
    launches.note_launch(folder, "made", "name: made", {"n": 2})
    put(folder / "trials" / "part-0.parquet", text("damaged"))
    assert len(list((folder / "trials").glob("part-*"))) == 4
    compaction.compact(folder)
    assert len(list((folder / "trials").glob("part-*"))) == 2
    assert set(finished(folder)) == set(map(str, range(3)))
    assert [launch["n"] for launch in json.loads((folder / "study.json").read_bytes())["launches"]] == [1, 2]
    for at in (str(folder), str(folder.parent)):
        found = analysis.open(at).execute("SELECT count(*), sum(test_accuracy) FROM trials").fetchone()
        assert found == (3, 1.5)
        shapes = analysis.open(at).execute("SELECT shape FROM layers ORDER BY trial_id").fetchall()
        assert shapes == [([2, seed],) for seed in range(3)]
        values = (
            analysis.open(at, metric="ece").execute("SELECT test_accuracy FROM trials ORDER BY 1").fetchall()
        )
        assert values == [(-0.2,), (-0.1,), (0.0,)]
    assert analysis.open(str(folder), where="seed < 2").execute("FROM curves").fetchall().__len__() == 2
    launch = {"started_at": "2026-01-01T00:00:00+00:00", "trials": 12, "to_run": 12}
    launches.note_launch(folder, "made", "name: made", launch)
    for at in (str(folder), str(folder.parent)):
        assert unfinished(analysis.open(at)) == {"made": (3, 12)}


@pytest.mark.slow
@pytest.mark.parametrize("fetched", [True, False], ids=["in memory", "where they are"])
def test_queries_reach_the_results_of_a_store_and_nothing_else(fetched, bucket, monkeypatch):
    from analysis.warehouse import views

    monkeypatch.setattr(views, "_FETCHED", 10**9 if fetched else 0)
    folder = place(f"{bucket}/results/made")
    results.write(folder, [trial("a", seed=7)], [[]], [[]])
    results.write(place(f"{bucket}/secret"), [trial("b", seed=8)], [[]], [[]])
    connection = analysis.open(str(folder.parent))
    assert connection.execute("SELECT seed FROM trials").fetchall() == [(7,)]
    for path in ("secret", "results/../secret", "results-2"):
        with pytest.raises(Exception, match=r"No files found|disabled by configuration"):
            connection.execute(f"FROM read_parquet('{bucket}/{path}/trials/part-*.parquet')")
    for target in ("trials/part-1.parquet'", "new' (FORMAT parquet, PARTITION_BY a)"):
        with pytest.raises(Exception, match=r"only read|disabled by configuration"):
            connection.execute(f"COPY (SELECT 1 AS a, 2 AS b) TO '{bucket}/results/made/{target}")
    assert not (folder / "new").exists()
    assert len(list((folder / "trials").glob("*"))) == 1


@pytest.mark.slow
def test_states_and_claims_in_a_store(bucket):
    store = Store(place(f"{bucket}/results/.prefixes"))
    ours = Claims(store, "ours", {"a": {"k1", "k2"}, "b": {"k2"}})
    theirs = Claims(store, "theirs", {"c": {"k1"}})
    for key in ("k1", "k2"):
        store.save(key, {"weight": torch.arange(3)})
    again = Store(store.folder)
    assert again.has("k1") and not again.has("k3")
    assert again.load("k2")["weight"].tolist() == [0, 1, 2] and again.load("k3") is None
    ours.done("a")
    ours.done("b")
    assert [path.name for path in store.folder.glob("*.pt")] == ["k1-cpu.pt"], "others need it"
    theirs.done("c")
    ours.close()
    theirs.close()
    assert not store.folder.exists()


@pytest.mark.parametrize(
    ("uri", "exported", "value"),
    [
        ("s3://b/r?foo=bar", "AWS_REGION", "us-east-1"),
        ("s3://[b/r", "AWS_REGION", "us-east-1"),
        ("s3://b/r", "AWS_ENDPOINT_URL", "localhost:9000"),
        ("gs://b/r?connect_timeout=3", "AWS_REGION", "us-east-1"),
        ("az://b/r", "AZURE_STORAGE_KEY", "no base64!"),
    ],
)
def test_what_is_nothing_to_a_store_is_one_line(uri, exported, value, monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "ours")
    monkeypatch.setenv(exported, value)
    monkeypatch.setattr(remote, "client", stores.client.__wrapped__)
    with pytest.raises(ONE_LINE):
        place(uri).exists()


@pytest.mark.slow
@in_time
def test_a_launch_shows_that_it_lives_while_it_waits_for_a_dead_one(bucket, monkeypatch):
    monkeypatch.setattr(lease, "BEAT", 0.2)
    monkeypatch.setattr(lease, "DEAD", 2.0)
    folder = place(f"{bucket}/results/study")
    dead = {"pid": 1, "node": "gone", "process": "other/pid:[1]/7@1"}
    put(folder / ".lock-dead", text(json.dumps(dead)))
    held, end = threading.Event(), threading.Event()

    def launch():
        with results.lock(folder):
            held.set()
            end.wait()

    thread = threading.Thread(target=launch)
    thread.start()
    seen = set()
    while not held.wait(0.1):
        seen |= {other.read_bytes() for other in folder.glob(".lock-*") if other.name != ".lock-dead"}
    end.set()
    thread.join()
    assert len(seen) > 2


@pytest.mark.slow
@in_time
def test_a_launch_gives_way_to_one_that_lives_and_not_to_one_that_died(bucket, monkeypatch):
    monkeypatch.setattr(lease, "BEAT", 0.5)
    monkeypatch.setattr(lease, "DEAD", 3.0)
    folder = place(f"{bucket}/results/study")
    with results.lock(folder):
        began = time.monotonic()
        with pytest.raises(BadInput, match=f"{folder} is being written by process"), results.lock(folder):
            pass
        assert time.monotonic() - began < 1, "of this machine, that is known at once"
        [own] = folder.glob(".lock-*")
        elsewhere = json.loads(own.read_bytes()) | {"process": "other/pid:[1]/7@1"}

    def beat(number):
        put(folder / ".lock-elsewhere", text(json.dumps(elsewhere | {"beat": number})))

    def beats():
        for number in itertools.count(1):
            if ended.wait(0.2):
                return
            beat(number)

    ended = threading.Event()
    alive = threading.Thread(target=beats)
    beat(0)
    alive.start()
    with pytest.raises(BadInput, match="is being written by"), results.lock(folder):
        pass
    ended.set()
    alive.join()
    with results.lock(folder):  # no sign of life any more
        assert len(folder.glob(".lock-*")) == 1
    code = f"""
import os, signal
from sweep.store import places, results
with results.lock(places.place("{folder}")):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(folder.glob(".lock-*")) == 1
    began = time.monotonic()
    with results.lock(folder):
        assert time.monotonic() - began < 2, "of this machine, that is known at once"
    assert not folder.glob(".lock-*")


@pytest.mark.slow
@of_s3
def test_what_a_store_did_not_take_is_sent_by_the_next_launch(bucket, server, monkeypatch):
    scheme, port = server
    way = stores.Way(port)
    reached(monkeypatch, scheme, way.own)
    folder = replace(place(f"{bucket}/results/made"), patience=1.0)
    writer = Writer(folder, "made")
    way.breaks("error")
    for seed in range(3):
        writer.add(trial(str(seed), seed=seed), [], [])
    with pytest.raises(BadInput, match="and 3 more trials on this machine"):
        writer.close()
    way.breaks(None)
    assert not finished(folder)
    send(folder)
    assert len(finished(folder)) == 3
    send(folder)
    assert len(list((folder / "trials").glob("*"))) == 1


@pytest.mark.slow
def test_a_data_set_in_a_store_is_copied_to_a_machine_once(bucket, server, monkeypatch):
    root = place(f"{bucket}/data")
    for part in ("train", "test"):
        put(root / "pets" / part / "cat" / "1.png", text(part))
    with pytest.raises(BadInput, match="dogs: it is not under"):
        catalog.local("image-folder:dogs", str(root))
    home = catalog.local("image-folder:pets", str(root))
    assert (home / "pets" / "test" / "cat" / "1.png").read_text() == "test"
    reached(monkeypatch, server[0], 1)
    assert catalog.local("image-folder:pets", str(root)) == home
    for file in catalog.DATASETS["mnist"].files:
        put(Remote(server[0], f"{bucket[len('s3://') :]}/data/{file}"), text(file))
    home = catalog.local("mnist", str(root))
    assert all((home / file).read_text() == file for file in catalog.DATASETS["mnist"].files)


@pytest.mark.slow
@pytest.mark.parametrize(
    "content", ["garbage", "", "{}", "[]", "7", "[" * 100_000, '{"pid": "../..", "node": 1, "process": 2}']
)
def test_an_object_that_is_called_as_a_lock_is_but_is_none_is_left_aside(bucket, content, capsys):
    folder = place(f"{bucket}/results/study")
    put(folder / ".lock-x", text(content))
    with results.lock(folder):
        pass
    assert f"{folder / '.lock-x'}: not a launch's lock: left aside" in capsys.readouterr().err
    assert (folder / ".lock-x").exists()

"""A results folder as somebody might send it who means harm: names, links, labels, parts and JSON."""

import json
import os
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq

from sweep.store import results
from tests.analysis.conftest import SPARSITIES, trial

ESCAPES = "\x1b]52;c;cHduZWQ=\x07\x1b[2J"
DEEP = "[" * 100_000
# What `study.json` and `search.json` may hold instead.
DOCUMENTS = (
    *("", "[]", "null", "7", '"x"', "{}", DEEP, '{"a":' * 5_000, "\x00", '{"launches": 7, "spec": 1}'),
    '{"launches": [{}], "study": [1], "spec": {}}',
    '{"launches": [{"trials": "x", "to_run": -1, "started_at": 5}], "study": "s", "spec": ""}',
    '{"study": "<img src=x onerror=document.title=1>", "trials": 1, "stopped": 0, "known": 0, "seeds": 3, '
    '"sampler": "<b>", "best": [], "importances": {"<b>": {"<i>": 0.5}}, "objectives": []}',
    '{"study": "s", "trials": 1, "stopped": 0, "known": 0, "seeds": 3, "sampler": "tpe", "importances": {}, '
    '"objectives": ["cost"], "best": [{"schedule": [], "val_accuracy": "x"}, {}]}',
    '{"study": "s", "trials": 1, "stopped": 0, "known": 0, "seeds": 3, "sampler": "tpe", "importances": [], '
    '"objectives": ["cost"], "best": [{"schedule": {"a": 1e999}, "val_accuracy": [], "test_accuracy": [], '
    '"density": "x", "cost": null}]}',
)


def labels(address):
    """Names that do something where they are shown, if they are not made safe for it."""
    return (
        f'<a href="{address}/a" style="fill:url({address}/x.svg#a)">x</a>',
        f'</script><script src="{address}/s"></script><img src="{address}/i" onerror="document.title=1">',
        "</title><b onload=document.title=1>$title ${body} %{x} &lt;b&gt;",
        f"{ESCAPES}\nnext line",
        "[link=http://x][/link] [/] [bold]",
        "a\\input{/etc/passwd}\n\\write18{id}",
        "=HYPERLINK(1)",
        "\u202e\u200e\x00\x7f",
        "'; DROP VIEW trials; --",
        "long " * 1_000,
    )


def build(folder, victim, address="http://127.0.0.1:1"):
    """Write such a folder.

    Args:
        victim: a file outside that nothing may touch; links of the folder lead to it.
        address: of who counts what is loaded.
    """
    made = folder / f"made 'of' {ESCAPES.replace('/', '')}<b>\n"
    rows = [
        trial(f"{name[:40]}{i}{s}{seed}", criterion=name, scope=name, sparsity=s, seed=seed, study=name, error=name,
              test_accuracy=0.5 + (seed + i) / 100, val_accuracy=0.5, density=1 - s, wall_seconds=2.0,
              pre_train_loss=s + seed / 10, device=name)
        for i, name in enumerate((*labels(address), "snip", "random"))
        for s in SPARSITIES
        for seed in range(3)
    ]  # fmt: skip
    layers = [
        {"trial_id": r["trial_id"], "layer": layer, "name": r["criterion"], "kept": kept, "density": density}
        for r in rows
        for layer, kept, density in ((0, 1, None), (1, -5, float("inf")), (2, None, 0.5))
    ]
    curves = [
        {"trial_id": r["trial_id"], "phase": phase, "epoch": epoch, "val_accuracy": 0.5}
        for r in rows
        for phase, epoch in ((r["criterion"], 1.0), ("retrain", 1.0), ("retrain", float("nan")), (None, 2.0))
    ]
    metrics = [
        {"trial_id": r["trial_id"], "name": name, "split": split, "value": value, "higher_is_better": True}
        for r in rows
        for name, split, value in (
            ("f1", "test", 0.5),
            (r["criterion"], r["scope"], 0.5),
            ("f1", "test", 9.0),
        )
    ]
    masks = [
        {
            "trial_id": r["trial_id"],
            "layer": n,
            "name": r["criterion"],
            "shape": [8],
            "params": p,
            "kept": 4,
            "bits": b,
        }
        for r in rows
        for n, (p, b) in enumerate(
            ((8, b"\xf0"), (8, b"\xff"), (8, b""), (8, None), (-8, b"\xf0"), (2**62, b"\xf0"))
        )
    ]
    results.write(made, rows, [curves], [layers], [metrics], [masks])
    when = datetime(2026, 1, 1, tzinfo=UTC)
    strange = [
        {**rows[0], "trial_id": f"s{i}", "finished_at": when, **fields}
        for i, fields in enumerate(
            [
                *({"arm": arm} for arm in ("x", "[1]", "null", "{}", DEEP, '{"criterion":5}', '{"\x1b":1}')),
                *({"sparsity": value} for value in (None, 1.0, -1.0, float("inf"), float("nan"))),
                *({"config": text, "arm": None} for text in ("", "[]", DEEP, '{"epochs":{}}')),
                *({"density": float("nan")}, {"wall_seconds": float("inf")}, {"test_accuracy": None}),
                *({"seed": None}, {"status": "<b>"}, {"finished_at": None}, {"pre_train_loss": float("inf")}),
            ]
        )
    ]
    results.write(made, strange, [[]], [[]])

    parts = made / "trials"
    sound = next(parts.glob("part-*"))
    (parts / 'part-";document.documentElement.dataset.pwned=4;".parquet').write_bytes(sound.read_bytes())
    (parts / f"part-{ESCAPES[:8]}.parquet").write_bytes(b"PAR1")
    (parts / "part-cut.parquet").write_bytes(sound.read_bytes()[:-50])
    (parts / "part-folder.parquet").mkdir()
    (parts / "part-nowhere.parquet").symlink_to(folder / "nowhere")
    (parts / "part-endless.parquet").symlink_to("/dev/zero")
    (parts / "part-passwd.parquet").symlink_to("/etc/passwd")
    os.mkfifo(parts / "part-pipe.parquet")
    pq.write_table(pa.table({"price": [1.0]}), parts / "part-price.parquet")

    for number, text in enumerate(DOCUMENTS):
        for name in ("study.json", "search.json"):
            (folder / f"d{number}").mkdir(exist_ok=True)
            (folder / f"d{number}" / name).write_text(text)
    for name in ("study.json", "search.json"):
        (folder / "pipes").mkdir(exist_ok=True)
        os.mkfifo(folder / "pipes" / name)
        (folder / "endless").mkdir(exist_ok=True)
        (folder / "endless" / name).symlink_to("/dev/zero")
    spec = f"name: x\n</pre><script>document.title=1</script><img src='{address}/spec'>{ESCAPES}"
    (made / "study.json").write_text(json.dumps({"study": rows[0]["study"], "spec": spec, "launches": [{}]}))

    left = folder / "running trials" / "running"
    left.mkdir(parents=True)
    for number, text in enumerate(DOCUMENTS):
        (left / f"{number:016x}.json").write_text(text)
    os.mkfifo(left / f"{'a' * 16}.json")
    (left / f"{'b' * 16}.json").symlink_to("/dev/zero")
    shown = {"trial_id": "c" * 16, "config": rows[0]["config"], "headline": "<b>", "at": when.isoformat()}
    shown |= {"done": 1, "epochs": 2, "seconds": 3, "curves": [["<b>", 1, 0.5]]}
    (left / f"{'c' * 16}.json").write_text(json.dumps(shown))

    for name in ("report.html", ".report.html.new", ".lock.pid", ".lock", "x.csv", ".x.csv.new", ".part-1"):
        for place in (folder, made, parts):
            (place / name).symlink_to(victim)
    return made

"""Results of a made-up study of any size, written as a launch writes them."""

import json
import uuid
from pathlib import Path

import duckdb
import pyarrow as pa

from sweep.config import Config
from sweep.store.results import encode
from sweep.store.schema import SCHEMAS
from sweep.study.identity import Trial

_PART = 125_000
# 2 data sets × 3 models × 5 ways to choose × 10 sparsities × 3 prune epochs × 7 lengths × 8 learning rates.
_CELLS = 2 * 3 * 5 * 10 * 3 * 7 * 8
_AXES = """
SELECT
    i // {cells} AS seed,
    ['digits', 'mnist'][1 + i % 2] AS dataset,
    ['conv-5', 'lenet-300-100', 'resnet-20'][1 + i // 2 % 3] AS model,
    ['random', 'random', 'snip', 'magnitude', 'force'][1 + i // 6 % 5] AS criterion,
    ['global', 'erk', 'global', 'global', 'global'][1 + i // 6 % 5] AS scope,
    [1, 1, 1, 1, 20][1 + i // 6 % 5] AS iterations,
    [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999][1 + i // 30 % 10]::DOUBLE AS sparsity,
    [0, 1, 2][1 + i // 300 % 3] AS prune_epoch,
    4 + i // 900 % 7 AS epochs,
    [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5][1 + i // 6300 % 8]::DOUBLE AS lr,
    i
FROM range({first}, {last}) AS r(i)
"""
_COLUMNS = """
WITH drawn AS (
    SELECT *, hash(i, 1) / 18446744073709551616.0 AS u, hash(i, 2) / 18446744073709551616.0 AS v,
        1 / (1 + exp(-3 * (log10(1 - sparsity) + 2.5 + (scope = 'erk')::INT / 5 + u / 3))) AS quality
    FROM ({axes})
)
SELECT
    lower(printf('%016x', hash(i))) AS trial_id, 'synthetic' AS study, 2 AS protocol,
    format({template}, criterion, dataset, epochs, iterations, lr, model, prune_epoch, scope, seed, sparsity) AS config,
    regexp_replace(config, '"seed":[0-9]+,"sparsity":[-+.0-9e]+,', '') AS arm,
    * EXCLUDE (i, u, v, quality, lr), 'exponential' AS schedule, 'weight' AS structure, 'all' AS retrain, 'none' AS ablation,
    'ok' AS status, false AS diverged,
    2.3 * (1 - quality) + v AS pre_train_loss, 2.3 * (1 - quality) + v AS pre_test_loss, quality * u AS pre_test_accuracy,
    1 - quality AS train_loss, 1 - quality + u / 9 AS val_loss, quality - u / 99 AS val_accuracy,
    1 - quality + v / 9 AS test_loss, quality - v / 99 AS test_accuracy, quality AS best_val_accuracy,
    quality - v / 99 AS test_accuracy_at_best_val, quality AS test_accuracy_selected_on_test,
    98000 AS params, (98000 * (1 - sparsity))::BIGINT AS kept, 1 - sparsity AS density,
    (1 - sparsity) * (1 - u / 5) AS effective_density, (u * 2)::BIGINT AS collapsed_layers, u / 9 AS min_layer_density,
    4000000 AS macs_dense, (4000000 * v)::BIGINT AS macs_masked, 98000 * u AS mean_active_params,
    u AS score_seconds, 5 * v AS train_seconds, v AS evaluate_seconds, 6 * v + u AS wall_seconds,
    'cpu' AS device, 'node' AS node, (i // 12)::BIGINT AS pack,
    TIMESTAMPTZ '2026-01-01' + to_seconds(i) AS started_at, TIMESTAMPTZ '2026-01-01' + to_seconds(i + 6) AS finished_at
FROM drawn
"""


def write(folder: Path, trials: int) -> None:
    """`trials` rows of `trials` under folder/synthetic; one in a hundred is there twice, as after a retry."""
    config = Config(dataset="digits", model="conv-5", criterion="force", sparsity=0.5, iterations=2, epochs=1)
    fields = json.loads(Trial.of(config).canonical)
    axes = (
        "criterion",
        "dataset",
        "epochs",
        "iterations",
        "lr",
        "model",
        "prune_epoch",
        "scope",
        "seed",
        "sparsity",
    )
    # Braces that stand for themselves are doubled for format().
    text = json.dumps(fields | dict.fromkeys(axes, "@"), sort_keys=True, separators=(",", ":"))
    text = "{{" + text[1:-1] + "}}"
    for axis in axes:
        quoted = '"{}"' if isinstance(fields[axis], str) else "{}"
        text = text.replace(f'"{axis}":"@"', f'"{axis}":{quoted}')
    target = folder / "synthetic" / "trials"
    target.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect()
    for first in [*range(0, trials, _PART), None]:
        span = (0, trials // 100) if first is None else (first, min(trials, first + _PART))
        axes_sql = _AXES.format(cells=_CELLS, first=span[0], last=span[1])
        rows = connection.sql(_COLUMNS.format(axes=axes_sql, template=f"'{text}'")).to_arrow_table()
        missing = [field for field in SCHEMAS["trials"] if field.name not in rows.column_names]
        for field in missing:
            rows = rows.append_column(field, pa.nulls(len(rows), field.type))
        part = rows.select(SCHEMAS["trials"].names).cast(SCHEMAS["trials"])
        encode(part, target / f"part-{span[0]:020d}-{uuid.uuid4().hex[:8]}.parquet", "trials")

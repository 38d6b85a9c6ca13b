"""No number is over two arms: results made up at random, in which what a trial measured says which arm it is of."""

import itertools
import json
import math
import re
import tempfile
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from unittest import mock

import plotly.graph_objects as go
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import analysis
from analysis.page import Page
from analysis.questions import best, collapse, correlation, crossover, regimes
from analysis.report import report
from analysis.warehouse import ask
from analysis.warehouse.arms import label
from sweep.config import CHOICE, FIELDS, Config
from sweep.means import Mean
from sweep.store import results
from sweep.study.consistency import Inconsistent
from sweep.study.identity import Trial
from tests.analysis.test_commands import QUESTIONS, run
from tests.analysis.warehouse.test_queries import NAMES

ROOT = Path(__file__).parents[3]
# Two values or more of every field: arms differ in any of them.
VALUES = {
    "dataset": ("digits", "image-folder:a"),
    "augment": ("none", "flip"),
    "random_labels": (False, True),
    "model": ("conv-5", "lenet-300-100"),
    "init": ("kaiming", "torch"),
    "criterion": ("snip", "random", "force", "gmp", "imp", "dense", "oracle"),
    "scope": ("global", "erk"),
    "densities": (None, "*=1", "0.*=0.5 *=1"),
    "target": ("kept", "effective"),
    "iterations": (1, 2, 20),
    "schedule": ("exponential", "linear"),
    "structure": ("weight", "filter"),
    "unit_score": ("sum", "mean"),
    "layers": ("*", "1*", "*, lr 0.1"),
    "min_per_layer": (0, 1),
    "prune_epoch": (0, 0.5, 1),
    "prune_when": (None, "stable", "epi"),
    "prune_threshold": (None, 0.5),
    "score_batches": (1, 4),
    "score_batch_size": (128, 1),
    "balanced": (False, True),
    "score_mode": ("own", "eval"),
    "score_loss": ("cross-entropy", "logit"),
    "score_domain": ("all", "Genesis"),
    "score_length": (None, 8),
    "score_init": ("same", "fresh"),
    "combination": (0, 1),
    "score_order": ("whole", "blockwise"),
    "update_every": (100, 10),
    "update_end": (0.75, 0.5),
    "drop_fraction": (0.3, 0.5),
    "second": (None, "ap"),
    "second_share": (0.1, 0.3),
    "initial_sparsity": (0, 0.5),
    "initial_scope": ("erk", "uniform"),
    "ablation": ("none", "reinit"),
    "compensate": ("none", "obs"),
    "rewind_epoch": (None, 0, 0.5),
    "retrain": ("all", "bn"),
    "retrain_epochs": (None, 1),
    "retrain_lr": (None, 0.1),
    "lora_rank": (16, 4),
    "lora_alpha": (32, 8),
    "retrain_loss": ("plain", "distill"),
    "distill_weight": (0.9, 1),
    "distill_temperature": (4, 1),
    "shrink": (False, True),
    "twin_seed": (None, 7),
    "epochs": (2, 3),
    "steps": (None, 2, 20),
    "batch_size": (128, 2),
    "optimizer": ("sgd", "adam"),
    "lr": (0.1, 0.2),
    "lr_schedule": ("cosine", "step"),
    "lr_drops": ("0.5 0.75", "0.5"),
    "lr_drop_factor": (0.1, 0.2),
    "warmup_epochs": (0, 1),
    "momentum": (0.9, 0),
    "nesterov": (False, True),
    "weight_decay": (5e-4, 0),
    "loss": (None, "focal"),
    "weights": (None, "run:0123456789abcdef"),
    "keep_mask": (False, True),
    "label_smoothing": (0, 0.1),
    "precision": ("float32", "bf16"),
    "compile": (False, True),
    "init_seed": (None, 0, 1),
    "order_seed": (None, 0, 1),
    "mask_seed": (None, 0, 1),
    "split_seed": (0, 1, "seed"),
    "stratified": (False, True),
    "validation_fraction": (0.1, 0.2),
}


def test_arms_are_made_up_that_differ_in_every_field():
    assert {*VALUES, "seed", "sparsity"} == set(FIELDS)
    assert all(len(set(values)) > 1 for values in VALUES.values())


FIRST = {name: values[0] for name, values in VALUES.items()}


def arm(changes):
    """A trial of the arm that differs so from the first; None: there is no such config."""
    fields = FIRST | changes
    if fields["steps"]:
        fields["epochs"] = None  # how long is one thing, however it is said
    if fields["criterion"] == "oracle":
        fields["structure"] = "filter"
    sparsity = 0.0 if fields["criterion"] == "dense" else 0.9
    try:
        return Trial.of(Config(**fields, sparsity=sparsity))
    except Inconsistent:
        return None


def test_a_newer_protocol_of_some_arms_is_named_only_where_nothing_else_tells_arms_apart():
    """And the dense network, whose protocol stays, shares their setting."""
    dense = arm({"criterion": "dense"}).arm
    weights, filters = (arm({"structure": each}).arm for each in ("weight", "filter"))
    older = filters.replace('"protocol":3', '"protocol":2')
    assert older != filters
    of_three = label([dense, weights, filters])
    assert not any("protocol" in each.setting + each.name for each in of_three.values())
    assert of_three[filters].setting == f"{of_three[dense].setting}, structure filter"
    of_all = label([dense, weights, filters, older])
    assert len({(each.setting, each.name) for each in of_all.values()}) == 4
    assert "protocol" in of_all[older].setting + of_all[older].name


def test_a_later_field_that_an_arm_leaves_out_has_its_default_in_names():
    arms = [arm({"structure": "filter", "unit_score": score}).arm for score in ("sum", "mean")]
    assert "unit_score" not in json.loads(arms[0])
    names = [known.name for known in label(arms).values()]
    assert names == ["snip unit_score=sum", "snip unit_score=mean"]
    written = arms[1].replace('"unit_score":"mean"', '"unit_score":"sum"')
    assert len({known.name for known in label([*arms, written]).values()}) == 3, "and no two have one name"


def change(name):
    return st.tuples(st.just(name), st.sampled_from(VALUES[name]))


# Two or three fields change, each in some of the arms: what differs by one field is what gets mixed up.
CHANGES = st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=3, unique=True).flatmap(
    lambda names: st.lists(st.tuples(*map(change, names)).map(dict), min_size=2, max_size=6)
)


@st.composite
def made_up(draw):
    """Arms, some maybe of before there was a field, as (config, arm) without seed and sparsity."""
    found = {}
    for changes in draw(CHANGES):
        trial = arm(changes)
        if trial is None:
            continue
        config = json.loads(trial.canonical)
        missing = draw(st.sampled_from([None, None, None, *sorted(set(FIELDS) - NEEDED)]))
        config.pop(missing, None)
        text = json.dumps({k: v for k, v in config.items() if k not in ("seed", "sparsity")}, sort_keys=True)
        found[text] = (trial, missing)
    assume(found)
    sparsities = draw(st.lists(st.sampled_from((0.5, 0.9, 0.99)), min_size=1, max_size=2, unique=True))
    return list(found.values()), sparsities


# What the first version wrote.
NEEDED = {"dataset", "model", "criterion", "sparsity", "scope", "iterations", "prune_epoch", "epochs", "seed"}


class Study:
    """Results in which all that the seeds of an arm at a sparsity measured is one number, no other's."""

    def __init__(self, folder, arms, sparsities, seeds=2):
        self.folder, self.codes = folder, {}
        rows, curves, layers = [], [], []
        for (trial, missing), sparsity in itertools.product(arms, sparsities):
            dense = trial.config.criterion == "dense"
            for seed in range(seeds):
                one = Trial(replace(trial.config, sparsity=0.0 if dense else sparsity, seed=seed))
                names = one.columns()
                for text in ("config", "arm"):
                    known = {k: v for k, v in json.loads(names[text]).items() if k != missing}
                    names[text] = json.dumps(known, separators=(",", ":"), sort_keys=True)
                cell = names["arm"], names["sparsity"]
                code = self.codes.setdefault(cell, round(1 / math.sqrt(len(self.codes) + 2), 6))
                names["trial_id"] = f"{code}-{seed}"
                rows.append({**names, **self.measured(code)})
                layer = {"layer": 0, "name": "0.weight", "kept": int(code * 10), "density": code}
                layers.append([{"trial_id": names["trial_id"], **layer, "effective_density": code}])
                curve = {"val_accuracy": code, "test_accuracy": code, "train_loss": code}
                curves.append(
                    [
                        {"trial_id": names["trial_id"], "phase": "retrain", "epoch": e, **curve}
                        for e in (1.0, 2.0)
                    ]
                )
        self.rows = rows, curves, layers
        self.pruned = {cell: code for cell, code in self.codes.items() if not criterion(cell[0], "dense")}
        self.compared = {c: code for c, code in self.pruned.items() if not criterion(c[0], "oracle")}

    @cached_property
    def written(self):
        """The folder, with the results."""
        results.write(self.folder, *self.rows)
        return self.folder

    @cached_property
    def connection(self):
        return analysis.open(self.written)

    @staticmethod
    def measured(code):
        columns = ("val_accuracy", "test_accuracy", "density", "effective_density", "min_layer_density")
        return {
            **dict.fromkeys((*columns, "pre_train_loss"), code),
            "study": "made", "status": "ok", "collapsed_layers": 0, "device": "cpu", "wall_seconds": 3600 * code,
            "score_seconds": 1800 * code, "finished_at": datetime(2026, 1, 1, tzinfo=UTC),
        }  # fmt: skip

    def of_one_arm(self, number):
        return any(math.isclose(number, code, rel_tol=1e-9) for code in self.codes.values())


def criterion(arm, name):
    return json.loads(arm)["criterion"] == name


@pytest.fixture
def study():
    """Writes results and opens them; a folder each time."""
    with tempfile.TemporaryDirectory() as scratch:
        numbers = itertools.count()
        yield lambda arms, sparsities: Study(Path(scratch) / str(next(numbers)), arms, sparsities)


PROPERTY = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.filter_too_much,
        HealthCheck.too_slow,
    ],
)
# What is no mean of something measured: axes, spreads, ranks, sums, shares and ratios.
OTHER = {
    *("sparsity", "prune_epoch", "epoch", "deviation", "test_deviation", "cpu_hours", "gpu_hours", "scoring"),
    *("accuracy_per_hour", "pearson", "spearman", "median", "anomalies", "collapsed"),
}


@pytest.mark.slow
@PROPERTY
@given(made_up())
def test_every_mean_of_every_query_is_of_one_arm(study, drawn):
    made = study(*drawn)
    for name in NAMES:
        for row in ask(made.connection, name):
            if name == "crossover":
                cells = ((row[side], row["sparsity"]) for side in ("first", "second"))
                one, other = map(made.codes.__getitem__, cells)
                assert row["mean"] == pytest.approx(one - other) and row["deviation"] in (None, 0)
                continue
            measured = [
                (column, number)
                for column, value in row.items()
                if column not in OTHER
                for number in (value if isinstance(value, list) else [value])
                if isinstance(number, float)
            ]
            assert measured, f"{name}: nothing is held to it"
            for column, number in measured:
                assert made.of_one_arm(number), (name, column, row)
                if "arm" in row:
                    assert number == pytest.approx(made.codes[row["arm"], row["sparsity"]])


@pytest.mark.slow
@PROPERTY
@given(made_up())
def test_no_two_arms_of_a_setting_have_one_name(study, drawn):
    arms = list({arm for arm, _ in study(*drawn).codes})
    for choice in (CHOICE, (*CHOICE, "prune_epoch")):
        labels = label(arms, choice)
        assert len({(known.setting, known.name) for known in labels.values()}) == len(arms)
        rests = Counter()
        for one in arms:
            rest = {k: v for k, v in json.loads(one).items() if k not in choice}
            rests[json.dumps(rest, sort_keys=True), labels[one].setting] += not labels[one].dense
        places = [setting for (_, setting), pruned in rests.items() if pruned]
        assert len(set(places)) == len(places), "two settings with one name"


@pytest.mark.slow
@PROPERTY
@given(made_up())
def test_every_mean_of_every_analysis_is_of_one_arm_and_none_is_lost(study, drawn):
    made = study(*drawn)
    comparisons = crossover.compare(made.connection)
    means = [
        mean.value
        for c in comparisons
        for n, by in c.means.items()
        for s, mean in by.items()
        if s or n != "dense"
    ]
    assert sorted(means) == pytest.approx(sorted(made.compared.values()))
    ranked = best.rank(made.connection)
    assert sorted(one.validation.value for one in ranked) == pytest.approx(sorted(made.compared.values()))
    assert all(made.of_one_arm(one.test.value) for one in ranked)
    unique([(one.setting, one.schedule, one.sparsity) for one in ranked])
    collapsed = collapse.collapse(made.connection)
    assert sorted(row["density"] for row in collapsed) == pytest.approx(sorted(made.compared.values()))
    unique([(row["setting"], row["criterion"], row["prune_epoch"], row["sparsity"]) for row in collapsed])
    unique([(one.setting, one.sparsity) for one in correlation.correlate(made.connection)])
    for x, y in (("sparsity", "lr"), ("prune_epoch", "lr"), ("criterion", "scope"), ("epochs", "sparsity")):
        found = regimes.regimes(made.connection, x, y)
        assert sorted(row["test_accuracy"] for row in found) == pytest.approx(sorted(made.pruned.values()))
        unique([(row["setting"], row["label"], row["x"], row["y"]) for row in found])


def unique(names):
    assert [name for name, count in Counter(names).items() if count > 1] == []


# What goes over several arms on purpose, and says so.
SEVERAL = {"aggregate"}


class Seen(Page):
    """A page that keeps its figures and tables of single arms."""

    figures, tables = [], []

    def chart(self, name, *figures, **more):
        if not name.startswith("Performance profiles"):
            self.figures.extend(figures)

    def table(self, head, body):
        self.tables.append((head, body))


@pytest.mark.slow
@settings(PROPERTY, max_examples=8)
@given(made_up())
def test_every_mean_of_every_chart_and_table_is_of_one_arm(study, drawn):
    made = study(*drawn)
    with (
        mock.patch.object(report, "Page", Seen),
        mock.patch.object(Seen, "figures", []),
        mock.patch.object(Seen, "tables", []),
    ):
        report.render(made.connection, made.folder)
        figures, tables = Seen.figures, Seen.tables
    assert figures and tables
    for figure in figures:
        unique([(trace.name, trace.mode) for trace in figure.data if trace.name])
        for trace in figure.data:
            if isinstance(trace, go.Parcoords):
                continue
            shares = isinstance(trace, go.Heatmap) and "tickformat" in str(trace.colorbar)
            values = (v for line in trace.z for v in line) if isinstance(trace, go.Heatmap) else trace.y
            for value in values:
                known = value is None or math.isnan(value) or made.of_one_arm(value)
                assert known or (shares and value in (0, 1)), (trace.name, value)
        columns = [trace.x for trace in figure.data if isinstance(trace, go.Heatmap)]
        assert all(len(set(names)) == len(names) for names in columns)
    for head, body in tables:
        for line in body:
            for column, cell in zip(head, line, strict=True):
                if isinstance(cell, Mean) and not column.startswith("behind"):
                    assert made.of_one_arm(cell.value), (column, str(cell))


@pytest.mark.slow
@settings(PROPERTY, max_examples=4)
@given(made_up())
def test_every_mean_that_is_printed_is_of_one_arm(study, drawn):
    made = study(*drawn)
    if not made.compared:
        return
    for words in (
        *((name,) for name in QUESTIONS if name not in SEVERAL),
        ("regimes", "--x", "lr", "--y", "scope"),
    ):
        answer = run(*words, "--results", made.written, "--format", "json")
        assert answer.returncode == 0, answer.stderr
        rows = json.loads(answer.stdout)
        for row in rows:
            for column, number in row.items():
                if isinstance(number, float) and re.fullmatch(
                    r"mean|density|(test|validation)_accuracy", column
                ):
                    assert made.of_one_arm(number), (words, column, row)
        names = ("setting", "criterion", "schedule", "label", "first", "second", "layer", "name", "x", "y")
        axes = ("sparsity", "prune_epoch", "pooled", "moved", "held")
        unique([tuple(row.get(key) for key in (*names, *axes)) for row in rows])


def examples():
    """The queries of the README and the docs."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for query in re.findall(r'analysis sql "([^"]+)"', page.read_text()):
            if "avg(" in query:
                yield " ".join(query.split())


@pytest.mark.slow
@settings(PROPERTY, max_examples=5)
@given(made_up())
def test_every_mean_of_the_queries_in_the_docs_is_of_one_arm(study, drawn):
    made, queries = study(*drawn), list(examples())
    assert queries
    for query in queries:
        query = re.sub(r"100 \* \(1 - avg\((\w+)\)\)", r"avg(\1)", query)
        found = made.connection.execute(query.replace("stddev(test_accuracy) AS std", "0 AS std"))
        columns = [column[0] for column in found.description]
        for row in found.fetchall():
            for column, number in zip(columns, row, strict=True):
                if column in ("accuracy", "error") or column.startswith("avg("):
                    assert made.of_one_arm(number), (query, column, row)

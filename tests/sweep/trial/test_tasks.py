"""Trials of every kind of task, on small data of their own."""

import pytest
import torch
from torch import nn

from sweep import data
from sweep.config import Config
from sweep.data import DATASETS, reading
from sweep.data.catalog import Dataset
from sweep.engine.preflight import check_here
from sweep.errors import BadInput
from sweep.models import MODELS
from sweep.models.catalog import Model
from sweep.study import load
from sweep.study.identity import Trial
from sweep.trial import run
from tests.sweep.trial.test_run import numbers

G = torch.Generator().manual_seed(0)
TABLE, WEIGHTS = torch.randn(600, 6, generator=G), torch.randn(6, 3, generator=G)
PICTURES = torch.randint(0, 256, (300, 1, 8, 8), generator=G, dtype=torch.uint8)
WORDS = torch.randint(0, 20, (600, 5), generator=G)
KNOWN = TABLE @ WEIGHTS
TASKS = {
    "classification": (TABLE, KNOWN.argmax(1)),
    "regression": (TABLE, KNOWN + KNOWN.tanh()),
    "one number": (TABLE, KNOWN[:, 0]),
    "multi-label": (TABLE, KNOWN > 0),
    "segmentation": (PICTURES, (PICTURES[:, 0] > 127).long()),
    "words": (WORDS, (WORDS == 3).any(1).long()),
}


class Reader(nn.Module):
    """Reads token ids, in any order."""

    def __init__(self, classes):
        super().__init__()
        self.words, self.hidden, self.head = nn.Embedding(20, 16), nn.Linear(16, 32), nn.Linear(32, classes)

    def forward(self, words):
        return self.head(self.hidden(self.words(words)).relu().amax(1))


def painter(shape, classes):
    layers = nn.Conv2d(shape[0], 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, classes, 3, padding=1)
    return nn.Sequential(*layers)


@pytest.fixture(autouse=True)
def own_data(monkeypatch):
    """The data sets of `TASKS`, and the models that some of them need."""
    for name, (inputs, targets) in TASKS.items():
        parts = (inputs[:-100], targets[:-100]), (inputs[-100:], targets[-100:])
        monkeypatch.setitem(DATASETS, name, Dataset(give=lambda parts=parts: parts))
    monkeypatch.setitem(MODELS, "reader", Model(lambda shape, classes: Reader(classes), inputs="any"))
    monkeypatch.setitem(MODELS, "painter", Model(painter))
    yield
    reading.find.cache_clear(), data.load.cache_clear()


def config(task, **fields):
    model = {"segmentation": "painter", "words": "reader"}.get(task, "lenet-300-100")
    base = {
        "criterion": "snip",
        "sparsity": 0.5,
        "epochs": 8,
        "batch_size": 32,
        "optimizer": "adam",
        "lr": 0.01,
    }
    return Config(**(base | {"dataset": task, "model": model, "weight_decay": 0} | fields))


def outcome(task, **fields):
    return run(Trial.of(config(task, **fields)))


HEADLINES = {
    "classification": ("accuracy", 0.9),
    "regression": ("r2", 0.95),
    "one number": ("r2", 0.95),
    "multi-label": ("map", 0.95),
    "segmentation": ("miou", 0.8),
    "words": ("accuracy", 0.95),
}


@pytest.mark.parametrize("criterion", ["snip", "magnitude"])
@pytest.mark.parametrize("task", TASKS)
def test_a_trial_of_every_task_learns_it_after_pruning(task, criterion):
    result = outcome(task, criterion=criterion, prune_epoch=1)
    name, good = HEADLINES[task]
    row = result.trial
    assert (row["status"], row["headline"]) == ("ok", name) and row["density"] == pytest.approx(0.5, abs=1e-4)
    assert row["test_accuracy"] > good and row["val_accuracy"] > good
    assert row["best_val_accuracy"] == max(each["val_accuracy"] for each in result.curves[1:])
    assert row["pre_test_accuracy"] < row["test_accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "criterion", ["fisher-pruning", "force", "wanda", "hutchinson-taylor", "prospr", "gblm"]
)
def test_criteria_that_look_at_data_score_every_task(task, criterion):
    iterations = {"iterations": 3} if criterion == "force" else {}
    assert outcome(task, criterion=criterion, epochs=2, **iterations).trial["status"] == "ok"


@pytest.mark.parametrize("criterion", ["rigl", "imp"])
def test_rules_along_training_train_every_task(criterion):
    fields = {"update_every": 5} if criterion == "rigl" else {"iterations": 2}
    for task in ("regression", "segmentation"):
        row = outcome(task, criterion=criterion, epochs=2, **fields).trial
        assert row["status"] == "ok" and row["density"] == pytest.approx(0.5, abs=1e-4)


def test_relevance_for_the_true_class_says_what_it_needs():
    with pytest.raises(ValueError, match=r"^lrp: it needs the numbers of the true classes as targets"):
        outcome("regression", criterion="lrp")


def test_a_named_loss_trains_scores_and_is_reported():
    rows = {name: outcome("regression", loss=name, epochs=3) for name in ("mse", "mae", "huber")}
    losses = {name: row.trial["test_loss"] for name, row in rows.items()}
    plain = outcome("regression", epochs=3)
    assert plain.trial["test_loss"] == losses["mse"] and len(set(losses.values())) == 3
    assert len({each.trial["trial_id"] for each in (*rows.values(), plain)}) == 4
    scores = {name: row.layers[0]["score_mean"] for name, row in rows.items()}
    assert len(set(scores.values())) == 3


def test_the_loss_that_a_task_has_anyway_makes_no_other_trial():
    """Where the data say the task only when they are read, the study's own word makes a trial of its own."""
    plain, named, focal = (config("digits", loss=loss) for loss in (None, "cross-entropy", "focal"))
    assert Trial.of(named) == Trial.of(plain) and Trial.of(named).config.loss is None
    assert Trial.of(focal).id != Trial.of(plain).id and focal.trunk != plain.trunk
    assert Trial.parse(Trial.of(focal).canonical) == Trial.of(focal)
    assert outcome("digits", loss="focal", epochs=1).trial["status"] == "ok"


METRICS = {
    "classification": ("ece", "nll", "top5"),
    "regression": ("r2", "rmse"),
    "multi-label": ("f1", "map"),
    "segmentation": ("miou", "pixel-accuracy"),
}


@pytest.mark.slow
@pytest.mark.parametrize("task", METRICS)
def test_metrics_of_the_final_network_change_no_other_number(task):
    trial = Trial.of(config(task, epochs=2))
    plain, result = run(trial), run(trial, metrics=METRICS[task])
    assert numbers(plain) == numbers(result) and plain.metrics == []
    rows = {(row["name"], row["split"]): row for row in result.metrics}
    assert rows.keys() == {(name, split) for name in METRICS[task] for split in ("validation", "test")}
    assert {row["trial_id"] for row in result.metrics} == {trial.id}
    last = result.trial
    if last["headline"] in METRICS[task]:
        assert rows[last["headline"], "test"]["value"] == last["test_accuracy"]
        assert rows[last["headline"], "validation"]["value"] == last["val_accuracy"]
    if task == "classification":
        assert rows["nll", "test"]["value"] == pytest.approx(last["test_loss"], rel=1e-5)
        assert rows["nll", "test"]["higher_is_better"] is False
        assert rows["top5", "test"]["value"] is None, "of three classes there are no five"
    if task == "regression":
        assert rows["rmse", "test"]["value"] ** 2 == pytest.approx(last["test_loss"], rel=0.5)


def test_a_trial_that_diverged_has_no_metrics():
    result = run(Trial.of(config("regression", optimizer="sgd", lr=1e20)), metrics=["rmse"])
    assert result.trial["status"] == "diverged" and result.metrics == []


WRONG = {
    "augment flip: the inputs of regression are no images of 8 bits": ("regression", {"augment": "flip"}),
    "loss focal: it is not for regression: take one of mse, mae, huber": ("regression", {"loss": "focal"}),
    "loss mse: it is not for segmentation: take one of cross-entropy, focal, dice": (
        "segmentation",
        {"loss": "mse"},
    ),
    "loss dice: it is not for classification": ("digits", {"loss": "dice"}),
    "label_smoothing: the loss focal takes none": ("digits", {"loss": "focal", "label_smoothing": 0.1}),
    "label_smoothing: the loss mse takes none": ("one number", {"label_smoothing": 0.1}),
    "score_loss logit is for classification and multi-label is": ("multi-label", {"score_loss": "logit"}),
    "balanced is for classification and regression is regression": ("regression", {"balanced": True}),
    "stratified is for classification and segmentation is": ("segmentation", {"stratified": True}),
    "conv-5 needs images and these inputs are of shape (6,)": ("regression", {"model": "conv-5"}),
    "lenet-300-100 needs real numbers (N, ...) and these inputs are (N, 5) of int64": (
        "words",
        {"model": "lenet-300-100"},
    ),
    "torchvision:resnet18 needs images": ("regression", {"model": "torchvision:resnet18"}),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_does_not_go_with_the_data_is_one_line_before_a_launch_and_in_a_trial(message):
    task, fields = WRONG[message]
    with pytest.raises(BadInput) as in_a_trial:
        outcome(task, **fields)
    with pytest.raises(BadInput) as before:
        check_here([Trial.of(config(task, **fields))], "data", 0, False)
    assert str(in_a_trial.value) == str(before.value)
    assert str(before.value).startswith(message) and "\n" not in str(before.value)


def test_a_metric_of_another_task_is_one_line_before_a_launch_and_in_a_trial():
    trial = Trial.of(config("regression"))
    for ask in (
        lambda: check_here([trial], "data", 0, False, metrics=["ece"]),
        lambda: run(trial, metrics=["ece"]),
    ):
        with pytest.raises(BadInput, match="metrics ece: it is not for regression"):
            ask()


def test_a_loss_that_does_not_go_with_a_known_task_is_named_with_its_line(study_file):
    text = "dataset: digits\nmodel: conv-5\nepochs: 2\nsparsity: 0\nloss: mse\n"
    with pytest.raises(
        BadInput, match="5: loss mse: it is not for classification: take one of cross-entropy"
    ):
        load(study_file(text))
    with pytest.raises(BadInput, match="5: loss msse: no such loss; did you mean mse"):
        load(study_file(text.replace("loss: mse", "loss: msse")))


def test_random_labels_leave_nothing_to_learn_in_any_task():
    assert outcome("regression", random_labels=True, epochs=2).trial["test_accuracy"] < 0.3


OWN = """
import torch
from torch import nn

from sweep.parts import dataset, loss, metric


@dataset(task="regression")
def slopes(root, *, noise: float = 1.0):
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(300, 4, generator=draws)
    y = x.sum(1) + noise * torch.randn(300, generator=draws)
    return (x[:200], y[:200]), (x[200:], y[200:])


def two_layers(shape, classes, *, width: int = 8):
    return nn.Sequential(nn.Linear(*shape, width), nn.ReLU(), nn.Linear(width, classes))


@loss(tasks=["regression"])
def power(outputs, targets, *, exponent: float = 2.0):
    return ((outputs - targets).abs() ** exponent).mean()


@metric(higher_is_better=False)
def farthest(outputs, targets):
    return (outputs - targets).abs().max()
"""


OWN_STUDY = """\
dataset: mine.py:slopes
dataset.noise: [0.0, 3.0]
model: mine.py:two_layers
model.width: 32
loss: [mae, mine.py:power]
loss.exponent: 1.5
metrics: [mae, mine.py:farthest]
criterion: snip
sparsity: 0.5
epochs: 10
batch_size: 16
optimizer: adam
lr: 0.02
"""


def test_data_a_loss_and_a_metric_of_ones_own_make_a_trial(study_file, tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    study = load(study_file(OWN_STUDY))
    results = {}
    for trial in study.trials():
        key = trial.config.value("dataset.noise"), trial.config.loss.partition("@")[0]
        results[key] = run(trial, metrics=study.metrics)
    clean, noisy = (results[noise, "mine.py:power"] for noise in (0, 3))
    assert clean.trial["test_accuracy"] > 0.9 > noisy.trial["test_accuracy"]
    assert results[0, "mae"].trial["test_loss"] != clean.trial["test_loss"]
    rows = {(row["name"].partition("@")[0], row["split"]): row for row in clean.metrics}
    farthest, mean = rows["mine.py:farthest", "test"], rows["mae", "test"]
    assert farthest["value"] > mean["value"] and farthest["higher_is_better"] is False

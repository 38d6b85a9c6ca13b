from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset as Pairs
from torch.utils.data import IterableDataset, TensorDataset

from sweep import data
from sweep.data import DATASETS, reading
from sweep.data.catalog import Dataset
from sweep.errors import BadInput


@pytest.fixture(autouse=True)
def nothing_kept():
    """No data set of an earlier test under the same name."""
    yield
    reading.find.cache_clear(), data.load.cache_clear()


@pytest.fixture
def own(monkeypatch):
    """Enters a data set under the name `own`, and loads it."""

    def own(train, test=None, task=None, fraction=0.2, **options):
        give = train if callable(train) and not isinstance(train, Pairs) else lambda: (train, test or train)
        monkeypatch.setitem(DATASETS, "own", Dataset(give=give, task=task))
        reading.find.cache_clear(), data.load.cache_clear()
        return data.load("own", "data", fraction, 0, **options)

    return own


X = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(20) % 3
IMAGES = torch.randint(0, 256, (20, 3, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


class Listed(Pairs):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class HuggingFace:
    """The methods of a `datasets.Dataset` that are used, of columns as its torch format gives them."""

    def __init__(self, **columns):
        self.columns, self.column_names, self.features = columns, list(columns), dict.fromkeys(columns)

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def with_format(self, kind):
        assert kind == "torch"
        return _Formatted(self.columns)


class _Formatted:
    def __init__(self, columns):
        self.columns = columns

    def __getitem__(self, rows):
        return {name: values[rows] for name, values in self.columns.items()}


FORMS = {
    "tensors": (X, LABELS),
    "a list": [X, LABELS],
    "arrays": (X.numpy(), LABELS.numpy().astype(np.int16)),
    "big-endian doubles": (X.double().numpy().astype(">f8"), LABELS.numpy().astype(">i4")),
    "lists of numbers": (X.tolist(), LABELS.tolist()),
    "a data set of tensors": TensorDataset(X, LABELS),
    "a data set of arrays and numbers": Listed([(x.numpy(), int(y)) for x, y in zip(X, LABELS, strict=True)]),
    "a Hugging Face data set of a column": HuggingFace(features=X, label=LABELS),
    "a Hugging Face data set of a table": HuggingFace(
        **{f"column {n}": X[:, n].double() for n in range(4)}, target=LABELS
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_data_are_taken_in_every_form_and_stay_what_they_are(form, own):
    loaded = own(FORMS[form])
    assert (loaded.task, loaded.classes, loaded.shape) == ("classification", 3, (4,))
    assert loaded.train.pixels.dtype == torch.float32 and loaded.train.labels.dtype == torch.int64
    assert torch.equal(loaded.train.pixels, X) and torch.equal(loaded.test.images, X)
    assert torch.equal(loaded.train.labels, LABELS[loaded.train.rows])
    assert loaded.mean is None and torch.equal(loaded.inputs(X), X)
    assert (len(loaded.train), len(loaded.validation), len(loaded.test)) == (16, 4, 20)


@pytest.mark.parametrize(
    "images",
    [
        (IMAGES, LABELS),
        Listed([(image.numpy(), label) for image, label in zip(IMAGES, LABELS, strict=True)]),
        Listed(
            [
                (Image.fromarray(image.permute(1, 2, 0).numpy()), int(label))
                for image, label in zip(IMAGES, LABELS, strict=True)
            ]
        ),
    ],
)
def test_images_of_8_bits_are_normalized_by_their_training_images_as_those_of_files_are(images, own):
    loaded = own(images)
    assert loaded.form == data.Form((3, 6, 5)) and loaded.train.pixels.dtype == torch.uint8
    seen = loaded.train.images.double()
    assert torch.allclose(loaded.mean.flatten().double(), seen.mean((0, 2, 3)))
    assert torch.allclose(loaded.deviation.flatten().double(), seen.std((0, 2, 3), correction=0))
    inputs = loaded.inputs(loaded.train.images)
    assert inputs.is_contiguous(memory_format=torch.channels_last) and abs(float(inputs.mean())) < 1e-5


@pytest.mark.parametrize(
    ("inputs", "dtype"),
    [
        (IMAGES.float(), torch.float32),  # real numbers stay as given
        (IMAGES.permute(0, 2, 3, 1), torch.int64),  # more than four channels
        (torch.randint(0, 9, (20, 7)), torch.int64),
        (torch.randint(0, 9, (20, 7), dtype=torch.uint8), torch.int64),
        (np.arange(20, dtype=np.uint16).reshape(20, 1), torch.int64),
        (X > 0, torch.float32),
        (X.half(), torch.float32),
        (torch.randn(20, 2, 3, 4, 5), torch.float32),
    ],
)
def test_other_inputs_pass_unchanged_as_real_or_whole_numbers_of_any_shape(inputs, dtype, own):
    loaded = own((inputs, LABELS))
    assert not loaded.form.images and loaded.form.dtype == loaded.train.pixels.dtype == dtype
    expected = torch.as_tensor(np.asarray(inputs).astype(np.float64))
    assert loaded.shape == tuple(expected.shape[1:]) and torch.equal(loaded.test.images.double(), expected)
    assert loaded.inputs(loaded.test.images) is loaded.test.images


@pytest.mark.parametrize(
    ("targets", "declared", "task", "outputs"),
    [
        (LABELS, None, "classification", 3),
        (LABELS % 2 == 0, None, "classification", 2),
        (X[:, 0], None, "regression", 1),
        (X[:, :2].double(), None, "regression", 2),
        (LABELS, "regression", "regression", 1),
        (X[:, :3] > 0, None, "multi-label", 3),
        ((X[:, :3] > 0).int(), None, "multi-label", 3),
        ((X[:, :3] > 0).float(), None, "regression", 3),
        ((X[:, :3] > 0).float(), "multi-label", "multi-label", 3),
        (IMAGES[:, 0] // 64, None, "segmentation", 4),
    ],
)
def test_the_task_is_what_is_declared_or_what_the_targets_look_like(targets, declared, task, outputs, own):
    loaded = own((IMAGES, targets), task=declared)
    assert (loaded.task, loaded.classes) == (task, outputs)
    labelled = data.TASKS[task].labelled
    assert loaded.train.labels.dtype == (torch.int64 if labelled else torch.float32)
    assert loaded.train.labels.dim() == {"classification": 1, "segmentation": 3}.get(task, 2)
    assert torch.equal(loaded.test.labels.double().flatten(), targets.double().flatten())


def test_a_function_gets_the_data_root_if_it_takes_one_and_its_parameters_by_name(own):
    calls = []

    def rooted(root, *, size: int = 3):
        calls.append((root, size))
        return (X[:size], LABELS[:size]), (X[:size], LABELS[:size])

    def free(*, size: int = 3):
        return rooted(None, size=size)

    assert len(own(rooted, fraction=0.3, arguments=(("size", 9),)).test) == 9
    assert len(own(rooted, fraction=0.3).test) == 3
    assert len(own(free, fraction=0.3, arguments=(("size", 6),)).test) == 6
    assert calls == [(Path("data"), 9), (Path("data"), 3), (None, 6)]
    assert data.check("own", "data", (("size", 6),)) == data.Form((4,), images=False)
    assert data.sizes("own", "data", 0.3, (("size", 6),))[:3] == (4, 2, 6)
    assert len(calls) == 3, "check and sizes have the data that load had"


@pytest.mark.parametrize("targets", [LABELS, X[:, :2], X > 0, IMAGES[:, 0] // 64])
def test_random_labels_shuffle_the_targets_of_any_task(targets, own):
    true, shuffled = own((IMAGES, targets)), own((IMAGES, targets), random_labels=True)
    assert torch.equal(true.scoring.labels, shuffled.scoring.labels)
    assert not torch.equal(true.train.labels, shuffled.train.labels)
    for one in (true, shuffled):
        both = torch.cat([one.train.labels, one.validation.labels]).double().flatten()
        assert torch.equal(both.sort().values, one.test.labels.double().flatten().sort().values)


def test_inputs_of_any_type_go_to_the_training_device(own):
    for inputs in (X, torch.randint(0, 9, (20, 7))):
        there = data.to(own((inputs, X[:, :2])), torch.device("meta"))
        assert {there.device.type, there.test.images.device.type, there.train.labels.device.type} == {"meta"}
        assert there.train.images.dtype == inputs.dtype and there.mean is None


class Endless(IterableDataset):
    def __iter__(self):
        yield X[0], 0


class Unsized(Pairs):
    def __getitem__(self, index):
        return X[0], 0


NAN = X.clone().index_fill_(0, torch.tensor([3]), torch.nan)
BAD = {
    "own: gives a list of 3: give a pair (train, test)": lambda: [1, 2, 3],
    "own: gives a Tensor: give a pair": lambda: X,
    "own: train is a Tensor: give a pair (inputs, targets) of": lambda: (X, X),
    "own: train is a dict: give": lambda: ({}, {}),
    "own: test is a tuple of 3: give": lambda: ((X, LABELS), (X, LABELS, LABELS)),
    "own: train is an IterableDataset: give": lambda: (Endless(), Endless()),
    "own: train is an Unsized without a length": lambda: (Unsized(), Unsized()),
    "own: train has a tuple of 1 as an item: give pairs": lambda: (TensorDataset(X), TensorDataset(X)),
    "own: train inputs are not of one shape": lambda: (Listed([(X[0], 0), (X[0, :2], 1)]),) * 2,
    "own: train inputs are an array of <U1: give numbers": lambda: (Listed([("a", 0)]),) * 2,
    "own: train inputs are an array of object": lambda: ((np.array([None, "a"]), LABELS[:2]),) * 2,
    "own: train inputs are an array of <U2": lambda: ((["aa", "b"], LABELS[:2]),) * 2,
    "own: train inputs are a str": lambda: (("ab", LABELS[:2]),) * 2,
    "own: train targets are a NoneType": lambda: ((X, None),) * 2,
    "own: train targets are not of one shape": lambda: ((X[:2], [[0], [1, 2]]),) * 2,
    "own: train inputs are a tensor of torch.complex64": lambda: ((X + 1j, LABELS),) * 2,
    "own: train inputs are a single number": lambda: ((torch.tensor(1.0), LABELS),) * 2,
    "own: train is empty": lambda: ((X[:0], LABELS[:0]), (X, LABELS)),
    "own: test is empty": lambda: ((X, LABELS), Listed([])),
    "own: train has 20 inputs and 19 targets": lambda: ((X, LABELS[1:]), (X, LABELS)),
    "own: test inputs have NaN or infinite": lambda: ((X, LABELS), (NAN, LABELS)),
    "own: train targets have NaN or infinite": lambda: ((X, NAN),) * 2,
    "own: train inputs have NaN or infinite numbers": lambda: ((X.double() * 1e300, LABELS),) * 2,
    "own: test inputs are (3,) of float32 and training inputs (4,) of float32": lambda: (
        (X, LABELS),
        (X[:, :3], LABELS),
    ),
    "own: test inputs are (3, 6, 5) of float32 and training inputs (3, 6, 5) of uint8": lambda: (
        (IMAGES, LABELS),
        (IMAGES.float(), LABELS),
    ),
    "own: a label is -1: count labels from 0": lambda: ((X, LABELS - 1), (X, LABELS)),
    "own: no training target is 1, and some are 4: number": lambda: ((X, LABELS * 2), (X, LABELS * 0)),
    "own: a test target is 3, which no training target is": lambda: ((X, LABELS), (X, LABELS + 1)),
    "own: targets of (2,) of int64 fit no task: classification takes (N,)": lambda: (
        (X, torch.full((20, 2), 7)),
        (X, LABELS),
    ),
    "own: test targets are () of float32 and classification takes (N,) of whole": lambda: (
        (X, LABELS),
        (X, X[:, 0]),
    ),
    "own: test targets are (3,) of float32 and training targets (2,) of float32": lambda: (
        (X, X[:, :2]),
        (X, X[:, :3]),
    ),
    "own: train has the columns a, b: name one of them label": lambda: (HuggingFace(a=X, b=LABELS),) * 2,
    "own: train column a is no column of numbers": lambda: (HuggingFace(a=X, b=X[:, 0], label=LABELS),) * 2,
}


@pytest.mark.parametrize("message", BAD)
def test_bad_data_are_one_line_that_says_what_is_wrong(message, own):
    with pytest.raises(BadInput) as error:
        own(BAD[message])
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_a_declared_task_that_does_not_exist_or_fit_is_one_line(own):
    with pytest.raises(BadInput, match="no such task: ranking; known: classification, regression"):
        own((X, LABELS), task="ranking")
    with pytest.raises(BadInput, match=r"train targets are \(\) of float32 and classification takes \(N,\)"):
        own((X, X[:, 0]), task="classification")
    with pytest.raises(BadInput, match=r"and multi-label takes \(N, k\) of 0 and 1"):
        own((X, X), task="multi-label")

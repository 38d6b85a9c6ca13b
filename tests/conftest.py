"""Shared by all tests: the closed-form network of the golden values, and small studies."""

import gc
import math
import os
import signal

# NumPy reads it when it is imported.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import pytest
import torch
from torch import nn

# Tests of small tensors gain nothing from threads, and lose much where others want the same cores.
torch.set_num_threads(1)

# A shell's background jobs ignore Ctrl-C, and so would all that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Until all tests are collected, which is mostly imports, there is no garbage to speak of.
gc.disable()


def pytest_collection_finish():
    gc.enable()


@pytest.fixture(scope="module", autouse=True)
def imports_set_aside():
    """Keep what is imported by now out of later garbage collections, which takes a fifth of a second with all imports."""
    gc.freeze()


@pytest.fixture(autouse=True)
def signals_kept():
    """Put the handlers of signals back: a launch in this process ends with signals ignored, as a process may."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler or signal.SIG_DFL)


def pytest_unconfigure():
    gc.unfreeze()


@pytest.fixture(scope="session")
def s3_port():
    """The port of an S3 server."""
    from tests import stores

    with stores.s3() as port:
        yield port


@pytest.fixture(scope="session")
def gs_port():
    """The port of a server of Google's storage."""
    from tests import stores

    with stores.gs() as port:
        yield port


@pytest.fixture(scope="session")
def az_port():
    """The port of a server of Azure's storage."""
    from tests import stores

    with stores.az() as port:
        yield port


@pytest.fixture
def bucket(s3_port, monkeypatch, tmp_path):
    """The URI of a new bucket, and an environment in which it is found."""
    from tests import stores

    for name, value in stores.environment(s3_port).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return stores.bucket(s3_port)


@pytest.fixture
def net_g():
    """A two-layer tanh network and one batch, free of randomness, in float64.

    Scored weights are numbered 0-11 (first layer, row by row) and 12-23 (second).
    """
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    with torch.no_grad():
        for i in range(4):
            model[0].bias[i] = 0.1 * math.cos(i)
            for j in range(3):
                model[0].weight[i, j] = 0.8 * math.sin(1 + 3 * i + j)
        for i in range(3):
            for j in range(4):
                model[2].weight[i, j] = 0.8 * math.sin(2 + 4 * i + j)
        model[2].bias.zero_()
    inputs = torch.tensor(
        [[math.cos(0.7 * n + 1.3 * k) for k in range(3)] for n in range(6)], dtype=torch.float64
    )
    return model, [(inputs, torch.arange(6) % 3)]


@pytest.fixture
def conv_net():
    """Convolution, BatchNorm, dropout and linear, in train mode, with two batches of 16."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Conv2d(6, 6, 3, groups=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 5),
    )
    batches = [(torch.randn(16, 2, 6, 6), torch.randint(0, 5, (16,))) for _ in range(2)]
    return model, batches


class _Rows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rows, self.head = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, inputs):
        return self.head(self.rows(inputs)[0][:, -1])


@pytest.fixture
def recurrent_net():
    """An LSTM that reads the rows of an input, and a linear layer, in float64, with a batch of 7."""
    torch.manual_seed(0)
    return _Rows().double(), [(torch.randn(7, 6, 4, dtype=torch.float64), torch.randint(0, 3, (7,)))]


STUDY = """\
name: small
dataset: digits
model: conv-5
epochs: 2
lr: 0.2
sparsity: [0.9, 0.99]
prune_epoch: 1
seed: [0, 1]
blocks:
  - criterion: random
    scope: [global, erk]
  - criterion: [magnitude, snip]
  - criterion: force
    iterations: 3
"""


@pytest.fixture
def study_file(tmp_path):
    """Writes a study and returns its path; without an argument, 20 short trials on digits."""

    def write(text=STUDY, name="small.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write

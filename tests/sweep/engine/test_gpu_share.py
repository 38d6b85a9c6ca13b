from dataclasses import replace

import pytest
import ray
import torch

from sweep.config import Config
from sweep.engine import cluster, gpu_share
from sweep.errors import BadInput
from sweep.study.identity import Trial
from tests.integration import warm

SNIP = Config(dataset="digits", model="conv-5", criterion="snip", sparsity=0.9, epochs=2, batch_size=64)
GIB = 2**30


@pytest.mark.parametrize(
    ("taken", "total", "trials"),
    [(10 * GIB, 140 * GIB, 11), (GIB // 2, 140 * GIB, 106), (20 * GIB, 24 * GIB, 1), (30 * GIB, 24 * GIB, 1)],
)
def test_as_many_trials_go_to_a_gpu_as_fit_into_nine_tenths_of_it(taken, total, trials):
    share = gpu_share.share(taken, total)
    assert cluster.slots([{"CPU": 200.0, "GPU": 1.0}], share)[0] == trials


def test_a_trial_of_each_kind_that_takes_other_memory_is_measured():
    grid = [replace(SNIP, seed=seed, sparsity=0.5 + seed / 10) for seed in range(3)]
    others = [replace(SNIP, criterion="grasp"), replace(SNIP, batch_size=32)]
    kinds = [trial.config for trial in gpu_share.kinds(map(Trial.of, [*grid, *others]))]
    assert kinds[1:] == others and kinds[0] in grid


@pytest.mark.parametrize("criterion", ["snip", "force", "synflow", "imp", "rigl", "oracle", "dense"])
def test_what_is_measured_can_be_run_whatever_the_criterion(criterion):
    structure = "filter" if criterion == "oracle" else "weight"
    sparsity = 0.0 if criterion == "dense" else 0.9
    config = replace(SNIP, criterion=criterion, structure=structure, sparsity=sparsity, iterations=3)
    assert gpu_share.peak(config, "data", torch.device("cpu")) == 0, "of a CPU nothing is measured"


@pytest.mark.long
@pytest.mark.slow
def test_the_share_is_measured_in_a_process_that_has_a_gpu_and_what_fails_there_is_one_line():
    with warm.starting():
        ray.init(address="local", num_cpus=1, num_gpus=1, include_dashboard=False, log_to_driver=False)
    try:
        trials = [Trial.of(SNIP), Trial.of(replace(SNIP, seed=1))]

        def measure(canonicals, data_root, parts):
            assert ray.get_gpu_ids() and data_root == "data"
            return 1 / len(canonicals)

        def fail(canonicals, data_root, parts):
            raise BadInput("no such data")

        assert cluster.measured(trials, "data", measure=measure) == 1.0
        with pytest.raises(BadInput) as told:
            cluster.measured(trials, "data", measure=fail)
        assert str(told.value) == "--gpus-per-trial auto: no such data; say a share, such as 0.25"
    finally:
        ray.shutdown()

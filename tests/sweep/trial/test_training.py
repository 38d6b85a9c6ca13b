import copy
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch._dynamo.testing import CompileCounter

import pruners
from sweep import data, models
from sweep.config import Config
from sweep.data import reading
from sweep.seeds import generator
from sweep.trial.evaluation import _compiled
from sweep.trial.training import Training


@pytest.mark.slow
def test_every_shape_and_network_is_compiled_after_any_number_of_others(monkeypatch):
    """With torch's own limit of eight graphs, later trials of a process would run without compilation."""
    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    for width in range(4, 10):
        compiled = _compiled(torch.nn.Sequential(torch.nn.Linear(width, 3), torch.nn.ReLU()))
        for batch in (2, 3, 2):
            compiled(torch.ones(batch, width))
    assert counter.frame_count == 12


def training(**fields):
    config = Config(
        **{
            "dataset": "digits",
            "model": "conv-5",
            "criterion": "snip",
            "sparsity": 0.9,
            "epochs": 3,
            **fields,
        }
    )
    loaded = data.load("digits", Path("data"), 0.1, 0)
    return Training(config, models.build(config.model, loaded.shape, 10, seed=1), loaded)


def epoch(run):
    """Train one epoch; its mean loss."""
    return next(run.run(run.step + run.steps_per_epoch))


@pytest.mark.slow
@pytest.mark.parametrize("nesterov", [False, True])
def test_pruned_weights_stay_exactly_zero_after_steps_with_momentum(nesterov):
    run = training(nesterov=nesterov, lr_schedule="constant")
    epoch(run)
    masks = pruners.prune("random", run.model, sparsity=0.9)
    run.mask(masks)
    for _ in range(2):
        epoch(run)
        for name, mask in masks.items():
            weight = run.model.get_parameter(name)
            assert torch.count_nonzero(weight[~mask]) == 0
            assert torch.count_nonzero(weight[mask]) == int(mask.sum())


def test_masked_training_equals_training_without_the_masked_weights():
    """Compared with a plain loop that multiplies the weights by the mask after each step."""
    run = training(batch_size=400, lr_schedule="constant", lr=0.05, epochs=1)
    masks = pruners.prune("random", run.model, sparsity=0.5)
    loaded, plain = run.data, models.build("conv-5", run.data.shape, 10, seed=1)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    pruners.apply_masks(plain, masks)
    images = len(loaded.train.labels)
    for rows in torch.randperm(images, generator=generator(0, "order", 0))[: images // 400 * 400].split(400):
        optimizer.zero_grad()
        F.cross_entropy(plain(loaded.inputs(loaded.train.images[rows])), loaded.train.labels[rows]).backward()
        optimizer.step()
        pruners.apply_masks(plain, masks)
    run.mask(masks)
    epoch(run)
    for name, weight in plain.state_dict().items():
        torch.testing.assert_close(run.model.state_dict()[name], weight, rtol=1e-4, atol=1e-6)


def test_the_learning_rate_falls_by_a_cosine_over_the_whole_run():
    run = training(lr=0.4, epochs=3)
    steps = 3 * run.steps_per_epoch
    assert run.learning_rate(0) == 0.4
    assert run.learning_rate(steps // 2) == pytest.approx(0.2)
    assert run.learning_rate(steps - 1) == pytest.approx(0.4 * (1 + math.cos(math.pi * (1 - 1 / steps))) / 2)
    assert training(lr=0.4, lr_schedule="constant").learning_rate(steps - 1) == 0.4


def test_evaluation_gives_loss_and_accuracy_of_the_split_and_changes_nothing():
    run = training()
    epoch(run)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    loss, accuracy = run.evaluate(run.data.train)
    output = run.model.eval()(run.data.inputs(run.data.train.images))
    assert loss == pytest.approx(F.cross_entropy(output, run.data.train.labels).item(), rel=1e-5)
    assert accuracy == pytest.approx((output.argmax(1) == run.data.train.labels).double().mean().item())
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())


@pytest.fixture(params=["held", "files"])
def pictures(request, tmp_path, monkeypatch):
    """An image folder of two classes of 26 images each, of 8 × 8 pixels, in memory or in files."""
    source = np.random.default_rng(0)
    for part, number in (("train", 26), ("test", 4)):
        for name in ("cat", "dog"):
            folder = tmp_path / "pets" / part / name
            folder.mkdir(parents=True)
            for i in range(number):
                pixels = source.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    if request.param == "files":
        monkeypatch.setattr(reading, "room", lambda device: 0)
    reading.find.cache_clear(), data.load.cache_clear()
    yield data.load("image-folder:pets", tmp_path, 0.1, 0)
    reading.find.cache_clear(), data.load.cache_clear()


def by_hand(run, size):
    """Loss and accuracy on the test images, with statistics of one pass of batches of one size: a plain loop."""
    model, loaded = copy.deepcopy(run.model).train(), run.data
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    seen = {layer: [] for layer in layers}
    for layer in layers:
        layer.register_forward_pre_hook(
            lambda layer, inputs: seen[layer].append(torch.var_mean(inputs[0], (0, 2, 3)))
        )
    order = generator(0, "recalibration")
    with torch.no_grad():
        for rows in torch.randperm(len(loaded.train), generator=order).split(size):
            if len(rows) == size:
                model(loaded.inputs(loaded.train.take(rows).images))
        for layer in layers:
            variances, means = map(torch.stack, zip(*seen[layer], strict=True))
            layer.running_mean.copy_(means.mean(0)), layer.running_var.copy_(variances.mean(0))
        output = model.eval()(loaded.inputs(loaded.test.take(torch.arange(len(loaded.test))).images))
    loss = F.cross_entropy(output, loaded.test.labels).item()
    return loss, (output.argmax(1) == loaded.test.labels).double().mean().item()


@pytest.mark.slow
def test_recalibrated_statistics_are_those_of_a_pass_over_the_training_images(pictures, monkeypatch):
    monkeypatch.setattr("sweep.trial.evaluation._EVALUATION_BATCH", 20)
    config = training(augment="flip-crop").config
    run = Training(config, models.build("conv-5", pictures.shape, 2, seed=1), pictures)
    list(run.run(1))
    run.mask(pruners.prune("random", run.model, sparsity=0.5))
    with run.recalibrated():
        found = run.evaluate(run.data.test)
    assert len(run.data.train) == 47
    assert found == pytest.approx(by_hand(run, 15), rel=1e-4), "three batches, and two images are left out"
    assert found[0] != pytest.approx(run.evaluate(run.data.test)[0], rel=0.01)


@pytest.mark.parametrize("fields", [{}, {"precision": "bf16"}])
def test_recalibration_restores_the_statistics_and_the_random_state(fields):
    run = training(**fields)
    run.model = torch.nn.Sequential(run.model, torch.nn.Dropout(0.5))
    run = Training(run.config, run.model, run.data)
    epoch(run)
    before, drawn = copy.deepcopy(run.state()), torch.get_rng_state()
    losses = set()
    for _ in range(2):
        with run.recalibrated():
            losses.add(run.evaluate(run.data.train))
        torch.rand(3)
    torch.set_rng_state(drawn)
    with run.recalibrated():
        losses.add(run.evaluate(run.data.train))
    assert len(losses) == 1, "whatever was drawn before"
    assert torch.equal(torch.get_rng_state(), drawn)
    after = run.state()
    assert all(torch.equal(value, after["model"][name]) for name, value in before["model"].items())
    assert {layer.momentum for layer in run.model.modules() if hasattr(layer, "momentum")} == {0.1}
    with pytest.raises(RuntimeError, match="stopped within"), run.recalibrated():
        raise RuntimeError("stopped within")
    assert all(torch.equal(value, run.model.state_dict()[name]) for name, value in before["model"].items())


def test_layers_draw_the_same_numbers_in_a_step_whatever_was_drawn_before():
    """So a trial with dropout has the same numbers in every pack and after every other trial."""

    def losses(stops):
        torch.manual_seed(len(stops))
        run = training()
        run.model = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.Dropout(0.5), torch.nn.Linear(32, 10)
        )
        torch.nn.init.constant_(run.model[1].weight, 0.01)
        torch.nn.init.eye_(run.model[3].weight)
        with torch.no_grad():
            run.model[1].bias.zero_(), run.model[3].bias.zero_()
        run = Training(run.config, run.model, run.data)
        for stop in stops:
            list(run.run(stop))
            torch.rand(3)
        return run.model[1].weight

    state = torch.get_rng_state()
    assert torch.equal(losses([13, 25]), losses([25]))
    torch.set_rng_state(state)
    list(training().run(5))
    assert torch.equal(torch.get_rng_state(), state)


def test_warm_up_rises_to_the_schedule_and_begins_again_with_a_new_one():
    run = training(lr=0.4, epochs=4, warmup_epochs=1)
    spe = run.steps_per_epoch
    assert run.learning_rate(0) == pytest.approx(0.4 / spe)
    assert run.learning_rate(spe) == pytest.approx(0.4 * (1 + math.cos(math.pi / 4)) / 2)
    run.restart(10 * spe, 2 * spe, 0.1)
    assert run.learning_rate(10 * spe) == pytest.approx(0.1 / spe)
    assert run.learning_rate(11 * spe) == pytest.approx(0.05)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_the_moments_of_adam_do_not_move_pruned_weights(optimizer):
    run = training(optimizer=optimizer, lr=0.01)
    epoch(run)
    masks = pruners.prune("random", run.model, sparsity=0.9)
    run.mask(masks)
    epoch(run)
    for name, mask in masks.items():
        assert torch.count_nonzero(run.model.get_parameter(name)[~mask]) == 0


def test_masks_of_weights_that_are_not_trained_leave_a_state_to_save():
    """Or such a training would leave no checkpoint."""
    run = training()
    run.only(lambda name: name.endswith("bias"))
    run.mask(pruners.prune("random", run.model, sparsity=0.9))
    assert run.can_restore(copy.deepcopy(run.state()))

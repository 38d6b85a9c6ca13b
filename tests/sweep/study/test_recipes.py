import pytest

from sweep.config import Config
from sweep.models.optimizers import LR_SCHEDULES
from sweep.study.recipes import RECIPES


def config(**fields):
    base = {"dataset": "mnist", "model": "lenet-300-100", "criterion": "dense", "sparsity": 0, "epochs": 10}
    return Config(**(base | fields))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", {0: 1, 0.5: 1, 0.99: 1}),
        ("cosine", {0: 1, 0.5: 0.5, 0.75: 0.146447}),
        ("step", {0: 1, 0.499: 1, 0.5: 0.2, 0.749: 0.2, 0.75: 0.04}),
        ("one-cycle", {0: 0, 0.1: 0.5, 0.2: 1, 0.6: 0.5, 0.99: 0.0125}),
    ],
)
def test_learning_rate_schedules_have_the_shape_of_their_name(schedule, expected):
    asked = config(lr_schedule=schedule, lr_drop_factor=0.2)
    for progress, factor in expected.items():
        assert LR_SCHEDULES[schedule].rate(progress, asked) == pytest.approx(factor, abs=1e-6)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(("dataset", "model"), [("mnist", "lenet-5-caffe"), ("cifar10", "resnet-18")])
def test_every_recipe_is_a_valid_config(recipe, dataset, model):
    fields = RECIPES[recipe](dataset, model)
    found = Config(dataset=dataset, model=model, criterion="dense", sparsity=0, **fields)
    assert (found.epochs is None) != (found.steps is None)


def test_published_recipes():
    fts = config(**RECIPES["fts"]("cifar10", "resnet-18"))
    assert (fts.lr, fts.batch_size, fts.epochs, fts.lr_drop_factor) == (0.01, 512, 160, 0.2)
    assert [float(share) * 160 for share in fts.lr_drops.split()] == [60, 120]
    snip = RECIPES["snip"]("mnist", "lenet-300-100")
    assert [float(share) * 250_000 for share in snip["lr_drops"].split()] == [
        25_000 * n for n in range(1, 10)
    ]


def drops(fields):
    """Epochs at which the learning rate drops."""
    return [round(float(share) * fields["epochs"], 9) for share in fields["lr_drops"].split()]


def test_force_trains_on_each_data_set_as_its_code_does():
    force = RECIPES["force"]
    cifar, tiny, imagenet = (force(name, "resnet-50") for name in ("cifar10", "tiny-imagenet", "imagenet"))
    assert (cifar["epochs"], drops(cifar)) == (350, [150, 250])
    assert (tiny["epochs"], drops(tiny)) == (300, [150, 225])
    assert (imagenet["epochs"], drops(imagenet)) == (90, [30, 60])
    assert (imagenet["batch_size"], imagenet["weight_decay"]) == (256, 1e-4)


def test_fts_scores_with_every_training_image_once_and_validates_by_class():
    fts = config(**RECIPES["fts"]("cifar10", "resnet-18"))
    assert fts.score_batches * fts.score_batch_size == 50_000 * (1 - fts.validation_fraction)
    assert fts.stratified and fts.score_mode == "eval"
    assert "score_batches" not in RECIPES["fts"]("digits", "conv-5"), "which has no so many images"


def test_the_warm_up_of_lth_has_its_20000_steps_on_cifar():
    lth = config(**RECIPES["lth"]("cifar10", "resnet-20"))
    assert round(lth.warmup_epochs * (45_000 // lth.batch_size)) == 20_000

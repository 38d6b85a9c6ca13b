import pruners
from sweep.parts import rule


@rule(reads=["mask_seed", "layers"])
def random_steps(run, *, times: int = 3):
    """Train an epoch; then remove random weights after each of some epochs, the same share each time."""
    run.dense(run.steps_of(1))
    for time in range(1, times + 1):
        masks = pruners.prune(
            "random",
            run.model,
            sparsity=1 - (1 - run.config.sparsity) ** (time / times),
            seed=run.config.roots.mask,  # of one draw, so that no weight comes back
            exclude=run.exclude,
        )
        run.mask(masks)
        run.train("sparse", run.steps_of(1 + time))
    run.record(masks)
    run.train("retrain", run.end)

import pruners
from sweep.parts import rule


@rule(reads=["mask_seed", "layers"])
def random_steps(run, *, times: int = 3):
    """A dense epoch; then random weights go at each of some epochs, the same share each time; then the rest."""
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

import numpy as np


def stripes(*, noise: float = 100.0):
    """Images of level, upright and slanting stripes with noise: uint8 (N, 1, 8, 8) and their kind."""
    draws = np.random.default_rng(0)
    rows, columns = np.mgrid[:8, :8]
    kinds = np.stack([rows, columns, rows + columns]) // 2 % 2 * 255.0

    def drawn(count):
        labels = draws.integers(3, size=count)
        images = kinds[labels] + draws.normal(0, noise, (count, 8, 8))
        return images.clip(0, 255).astype(np.uint8)[:, None], labels

    return drawn(900), drawn(300)

from sklearn.datasets import make_friedman1

from sweep.parts import dataset


@dataset(task="regression")
def friedman(*, noise: float = 1.0):
    """Ten numbers a row, of which five decide the target (Friedman 1991); 2,000 rows, 500 of them a test."""
    inputs, targets = make_friedman1(2500, noise=noise, random_state=0)
    targets = (targets - targets.mean()) / targets.std()
    return (inputs[:2000], targets[:2000]), (inputs[2000:], targets[2000:])

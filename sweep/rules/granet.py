"""`granet`: gradual pruning with neuroregeneration. Liu et al. 2021."""

from sweep.rules.along import Along, by_gradient


class GraNet(Along):
    """`gmp`, and after each pruning drops and grows as `rigl` does."""

    name = "granet"
    thins = True
    growth = staticmethod(by_gradient)


GRANET = GraNet()

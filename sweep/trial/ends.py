"""What ends the training of a trial early."""


class Diverged(Exception):
    """The loss of the training is infinite, no number, or far too large."""


class Stopped(Exception):
    """`after_epoch` stopped the trial."""

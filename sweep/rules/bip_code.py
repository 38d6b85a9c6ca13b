"""`bip-code`: bi-level pruning as the authors' code computes it, which is not the rule of their paper."""

from torch import Tensor

from sweep.rules.bip import Bip, Options


class BipCode(Bip):
    """Scores and weights are one tensor, and the implicit gradient is the score's gradient squared.

    OPTML-Group/BiP c51fc35. A step on scores so moves the weights too, and masks follow from |w|.
    """

    name = "bip-code"
    one_tensor = True

    def slope(
        self, options: Options, weight: Tensor, mask: Tensor, score: Tensor, gradient: Tensor
    ) -> Tensor:
        """The derivative straight through the mask, less its square times `second_order`."""
        straight = weight * gradient * score.sign()
        return straight - options.second_order * straight.square()


BIP_CODE = BipCode()

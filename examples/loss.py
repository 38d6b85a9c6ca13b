import torch.nn.functional as F

from sweep.parts import loss


@loss(tasks=["classification"])
def focal(outputs, targets, *, gamma: float = 2.0):
    """(1 − p)^gamma times the cross-entropy, p the probability of the true class (Lin et al. 2017)."""
    entropy = F.cross_entropy(outputs, targets, reduction="none")
    return ((1 - (-entropy).exp()) ** gamma * entropy).mean()

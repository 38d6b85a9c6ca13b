import torch


class Lion(torch.optim.Optimizer):
    """Steps of equal size along the sign of the momentum (Chen et al. 2023)."""

    def __init__(self, parameters, lr, decay, betas):
        super().__init__(parameters, {"lr": lr, "decay": decay, "betas": betas})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            lr, (near, far) = group["lr"], group["betas"]
            for weight in (each for each in group["params"] if each.grad is not None):
                momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                direction = momentum.lerp(weight.grad, 1 - near).sign()
                weight.mul_(1 - lr * group["decay"]).sub_(lr * direction)
                momentum.lerp_(weight.grad, 1 - far)


def lion(parameters, settings, *, near: float = 0.9, far: float = 0.99):
    """Lion with the learning rate and the weight decay of the study."""
    return Lion(parameters, settings.lr, settings.weight_decay, (near, far))

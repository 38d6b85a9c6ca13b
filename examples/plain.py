import torch


def summed_saliency(model, batches, loss):
    """Σ |w · g| over the scoring batches, g the gradient of each batch by itself."""
    weights = {name: weight for name, weight in model.named_parameters() if weight.dim() > 1}
    scores = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for inputs, targets in batches:
        gradients = torch.autograd.grad(loss(model(inputs), targets), list(weights.values()))
        for name, gradient in zip(weights, gradients, strict=True):
            scores[name] += (weights[name] * gradient).abs().detach()
    return scores

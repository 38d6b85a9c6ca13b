"""The built-in criteria: a score for each weight, one small function a criterion. Higher scores are kept.

A criterion sees the network through a `Probe`, which evaluates it at any mask without changing the model. To
add a criterion, decorate a function with `@criterion("name", ...)`: `CRITERIA` then has it, and so have all
functions, commands and tables that list criteria.
"""

import torch.nn.functional as F
from torch import Tensor

from pruners.criteria import CRITERIA, criterion
from pruners.probe import Probe, Scores

# The table, with what this module registers in it.
__all__ = ["CRITERIA"]

# GraSP and the Hessian criteria divide the outputs by this, so that the softmax of a fresh network is even.
_TEMPERATURE = 200.0


@criterion("random", source="baseline", equation="u ~ U(0, 1)", needs="nothing", draws=True)
def random(probe: Probe) -> Scores:
    """A seeded draw; with the scope `erk`, the strong baseline of Liu et al. 2022."""
    return probe.uniform()


@criterion("magnitude", source="Han et al. 2015", equation="|w|", needs="nothing")
def magnitude(probe: Probe) -> Scores:
    """Size of the weight."""
    return {name: weight.abs() for name, weight in probe.weights.items()}


@criterion("lamp", source="Lee et al. 2021", equation="w² / Σ v² over the layer's |v| ≥ |w|", needs="nothing")
def lamp(probe: Probe) -> Scores:
    """Layer-adaptive magnitude: the share of a weight's square among those of its layer from it up.

    Of equal weights the one of the lower index counts as the larger, so that one of each layer has score 1.
    """
    # Of the dense weights: lesser ones are pruned before, and change no score.
    return {name: _share_of_larger(weight) for name, weight in probe.dense.items()}


@criterion("grad-norm", source="baseline of Gollini et al. 2025", equation="|E g|")
def grad_norm(probe: Probe) -> Scores:
    """Size of the mean gradient."""
    return {name: g.abs() for name, g in probe.gradient().items()}


@criterion("snip", source="Lee et al. 2019", equation="|w ⊙ E g|")
@criterion("iter-snip", source="de Jorge et al. 2021", equation="|w ⊙ E g| at w ⊙ m", iterations=60)
def snip(probe: Probe) -> Scores:
    """Connection sensitivity. The paper divides by the sum over all weights, which ranks the same."""
    return {name: (probe.weights[name] * g).abs() for name, g in probe.gradient().items()}


@criterion(
    "force",
    source="de Jorge et al. 2021",
    equation="|w₀ ⊙ E g| with g at w₀ ⊙ m",
    iterations=60,
    revives=True,
)
def force(probe: Probe) -> Scores:
    """Foresight connection sensitivity: the pruned network's gradient on the dense weights."""
    return {name: (probe.dense[name] * g).abs() for name, g in probe.gradient().items()}


@criterion("grasp", source="Wang et al. 2020", equation="w ⊙ H E g, outputs / 200")
def grasp(probe: Probe, temperature: float = _TEMPERATURE) -> Scores:
    """Effect on gradient flow. The paper's S is the negative of this, and it removes the largest S."""
    product = probe.hessian_product(probe.gradient(temperature), temperature)
    return {name: probe.weights[name] * hg for name, hg in product.items()}


@criterion(
    "crop", source="Rachwan et al. 2022", equation="|w ⊙ H E g| at w ⊙ m", train_mode=False, iterations=101
)
def crop(probe: Probe) -> Scores:
    """Effect on gradient flow, whichever way. The paper's schedule is `halving`."""
    product = probe.hessian_product(probe.gradient(), 1)
    return {name: (probe.weights[name] * hg).abs() for name, hg in product.items()}


@criterion("grasp-it", source="code of de Jorge et al. 2021", equation="(E g)² at w ⊙ m", iterations=60)
def grasp_it(probe: Probe) -> Scores:
    """Squared mean gradient, recomputed."""
    return {name: g.square() for name, g in probe.gradient().items()}


@criterion(
    "synflow",
    source="Tanaka et al. 2020",
    equation="|∂R/∂w ⊙ w|, R = Σ f(1; |w|)",
    needs="shape",
    train_mode=False,
    iterations=100,
)
def synflow(probe: Probe) -> Scores:
    """Synaptic flow, in float64; only the shape of one input is used of the batches."""
    return {name: flow * probe.weights[name].double().abs() for name, flow in probe.absolute_flow().items()}


@criterion(
    "synflow-l2",
    source="Gebhart et al. 2021",
    equation="w² ⊙ ∂R/∂w², R = Σ f(1; w²)",
    needs="shape",
    train_mode=False,
    iterations=100,
)
def synflow_l2(probe: Probe) -> Scores:
    """Synaptic flow of the squared network, in float64."""
    return {
        name: flow * probe.weights[name].double().square() for name, flow in probe.absolute_flow(2).items()
    }


@criterion(
    "px",
    source="Iurada et al. 2024",
    equation="|w² ⊙ ∂R/∂w²|, R = Σ z₁(x²; 1) ⊙ f(1; w²), z₁ along active paths",
    train_mode=False,
    iterations=100,
)
def px(probe: Probe) -> Scores:
    """Path eXclusion: synaptic flow of the squared network, weighed by the paths that data activate."""
    return {
        name: (flow * probe.weights[name].double().square()).abs()
        for name, flow in probe.activated_flow().items()
    }


@criterion("fisher-diagonal", source="Gollini et al. 2025", equation="F = E g²", train_mode=False)
def fisher_diagonal(probe: Probe, per_sample: bool = True) -> Scores:
    """Diagonal of the empirical Fisher matrix."""
    return probe.fisher(per_sample)


@criterion("fisher-pruning", source="Gollini et al. 2025", equation="½ w² ⊙ F", train_mode=False)
def fisher_pruning(probe: Probe, per_sample: bool = True) -> Scores:
    """Optimal Brain Damage with the Fisher diagonal."""
    return {name: probe.weights[name].square() * f / 2 for name, f in probe.fisher(per_sample).items()}


@criterion("fts", source="Gollini et al. 2025", equation="|w ⊙ E g + ½ w² ⊙ (B·F)|", train_mode=False)
def fts(probe: Probe, per_sample: bool = True) -> Scores:
    """Fisher-Taylor Sensitivity. B is the number of samples in each gradient that F squares."""
    size = 1 if per_sample else probe.batch_size()
    return _taylor(probe, {name: size * f for name, f in probe.fisher(per_sample).items()}, 1)


@criterion(
    "fbss",
    source="Gollini et al. 2025",
    equation="(B·F/2) ⊙ (w − E g/(B·F))²; 0 where F = 0",
    train_mode=False,
)
def fbss(probe: Probe, per_sample: bool = True) -> Scores:
    """Fisher Brain Surgeon Sensitivity."""
    size = 1 if per_sample else probe.batch_size()
    gradient = probe.gradient()
    scores = {}
    for name, f in probe.fisher(per_sample).items():
        # In float64: where F is tiny the quotient's square leaves the range of float32.
        curvature, g, weight = (tensor.double() for tensor in (size * f, gradient[name], probe.weights[name]))
        scores[name] = (curvature / 2 * (weight - g / curvature).square()).masked_fill(f == 0, 0)
    return scores


@criterion(
    "hutchinson-diagonal",
    source="Gollini et al. 2026",
    equation="h = E z ⊙ H z, outputs / 200",
    train_mode=False,
)
def hutchinson_diagonal(probe: Probe, probes: int = 10, temperature: float = _TEMPERATURE) -> Scores:
    """Hutchinson's estimate of the Hessian's diagonal, with its sign."""
    return probe.hessian_diagonal(probes, temperature)


@criterion("hutchinson-pruning", source="Gollini et al. 2026", equation="½ w² ⊙ h", train_mode=False)
def hutchinson_pruning(probe: Probe, probes: int = 10, temperature: float = _TEMPERATURE) -> Scores:
    """Optimal Brain Damage with Hutchinson's diagonal: weights of negative curvature rank last."""
    diagonal = probe.hessian_diagonal(probes, temperature)
    return {name: probe.weights[name].square() * h / 2 for name, h in diagonal.items()}


@criterion(
    "hutchinson-taylor", source="Gollini et al. 2026", equation="|w ⊙ E g + ½ w² ⊙ h|", train_mode=False
)
def hutchinson_taylor(probe: Probe, probes: int = 10, temperature: float = _TEMPERATURE) -> Scores:
    """Second-order Taylor sensitivity; its gradient too is computed with outputs / 200."""
    return _taylor(probe, probe.hessian_diagonal(probes, temperature), temperature)


@criterion("prospr", source="Alizadeh et al. 2022", equation="|∂L(θ_M)/∂m|, M steps of SGD")
def prospr(probe: Probe, steps: int = 3, rate: float = 0.1) -> Scores:
    """Prospect pruning: the meta-gradient through the first steps of training, without momentum."""
    return {name: g.abs() for name, g in probe.unrolled(steps, rate).items()}


@criterion(
    "ntk-sap",
    source="Wang et al. 2023",
    equation="|∂/∂m Σ ‖f(x; m⊙w) − f(x; m⊙(w + εz))‖²|, x and z random",
    needs="shape",
    train_mode=False,
    iterations=20,
)
def ntk_sap(probe: Probe, epsilon: float = 0.01, draws: int = 1, redraw: bool = True) -> Scores:
    """Change of the neural tangent kernel's trace; only the shape of the inputs is used of the batches.

    As in the paper, each draw takes new weights too, unless `redraw` is false. Of tokens, embeddings are
    drawn.
    """
    return {name: g.abs() for name, g in probe.tangent_kernel(epsilon, draws, redraw).items()}


@criterion(
    "lrp", source="Yeom et al. 2021", equation="|Σ R|, R the weight's relevance (ε rule)", train_mode=False
)
def lrp(probe: Probe, epsilon: float = 1e-6, alpha: float | None = None) -> Scores:
    """Layerwise relevance for the true class; with alpha, by the αβ rule with β = α − 1."""
    return {name: r.abs() for name, r in probe.relevance(epsilon, alpha).items()}


@criterion("wanda", source="Sun et al. 2024", equation="|w| · ‖x‖₂, x the weight's inputs", train_mode=False)
def wanda(probe: Probe) -> Scores:
    """Size times input norm. The paper ranks within rows: scope `rowwise`."""
    return {name: probe.weights[name].abs() * norm for name, norm in probe.input_norms().items()}


@criterion(
    "beta-rank",
    source="Homayounfar et al. 2023",
    equation="mean |w| of a filter · Σ σ(output) / σ(its inputs)",
    train_mode=False,
)
def beta_rank(probe: Probe) -> Scores:
    """A filter's size times the spread it passes on; structure `filter`, which adds its weights up."""
    return {name: probe.weights[name].abs() * ratio for name, ratio in probe.spread_ratios().items()}


@criterion("gblm", source="Das et al. 2023", equation="|w| · (‖x‖₂ + α (Σ g²)^½)", train_mode=False)
def gblm(probe: Probe, alpha: float = 100.0, mean_norm: bool = False) -> Scores:
    """Size times the sum of the input norm and the scaled norm of the gradients of single samples.

    With `mean_norm`, as in the paper's code, Σ x² is divided by the number of samples before the root, and
    Σ g² is not.
    """
    fisher = probe.fisher(per_sample=True)
    share = 1 / probe.samples if mean_norm else 1
    return {
        name: probe.weights[name].abs() * (share**0.5 * norm + alpha * (probe.samples * fisher[name]).sqrt())
        for name, norm in probe.input_norms().items()
    }


@criterion(
    "gaprune",
    source="Tang & Yang 2025",
    equation="softplus((F|w| − β F′|w|) · clip(1 + 0.2 a, 0.8, 1.2) + γ √|w|), ′ general, a = cos(E g, E g′)",
    train_mode=False,
)
def gaprune(probe: Probe, beta: float = 1.0, gamma: float = 0.5, normalize: bool = False) -> Scores:
    """What a domain asks of a weight less what general data ask of it; a is one number for each layer.

    The scores are in float64, in which softplus keeps their order. `normalize` divides each layer's, less
    their mean, by their deviation.
    """
    domain, general = probe.fisher(per_sample=True), probe.general.fisher(per_sample=True)
    one, other = probe.gradient(), probe.general.gradient()
    scores = {}
    for name, weight in probe.weights.items():
        size = weight.double().abs()
        alike = F.cosine_similarity(one[name].double().flatten(), other[name].double().flatten(), dim=0)
        asked = (domain[name] - beta * general[name].double()) * size * (1 + 0.2 * alike).clamp(0.8, 1.2)
        scores[name] = F.softplus(asked + gamma * size.sqrt())
    if not normalize:
        return scores
    return {name: (each - each.mean()) / each.std().clamp_min(1e-12) for name, each in scores.items()}


def _share_of_larger(weight: Tensor) -> Tensor:
    """w² / Σ v² over the weights v from w up, in float64; 0 where all weights are 0."""
    squares = weight.abs().double().square().flatten()
    order = squares.sort(stable=True, descending=True)
    sums = order.values.cumsum(0)
    shares = order.values / sums.masked_fill(sums == 0, 1)
    return squares.scatter(0, order.indices, shares).view(weight.shape)


def _taylor(probe: Probe, curvature: Scores, temperature: float) -> Scores:
    gradient = probe.gradient(temperature)
    return {
        name: (weight * gradient[name] + weight.square() * curvature[name] / 2).abs()
        for name, weight in probe.weights.items()
    }

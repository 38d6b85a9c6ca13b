"""What the rules have in common that train masks: scores are parameters, and masks follow from the scores."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import pruners
from pruners.ranking import select
from pruners.scopes import Group, divided
from sweep import parts
from sweep.config import Config
from sweep.errors import BadInput
from sweep.models.optimizers import optimizer
from sweep.rules.rule import Rule, removes_units
from sweep.rules.run import Run
from sweep.seeds import generator


class Trained(Rule):
    """A rule that trains a score for each weight, from `prune_epoch` on.

    The network computes with the effective weights w ⊙ h(score). The forward pass goes through the step
    function h, the backward pass straight through it: ∂L/∂score := ∂L/∂h. The methods of this class are
    those of masks that keep the weights of the largest |score|. Weights, biases and normalization are
    frozen, unless the rule trains them in turns with the scores.

    Attributes:
        alternates: whether every other step, the first one too, trains weights instead of scores.
        one_tensor: whether the scores are the weights themselves: a step of either one is a step of both.
        scoped: whether the masks have the counts that sparsity and scope say.
        longer: what else than an earlier prune epoch gives masks more steps.
    """

    last_phase = "sparse"
    alternates = False
    one_tensor = False
    scoped = True
    longer = "or train longer"

    def reads(self, config: Config) -> frozenset[str]:
        """The fields of masks, and of a schedule of their own."""
        fields = {"layers", "prune_epoch", "retrain_epochs", "retrain_lr"}
        return frozenset(fields | ({"scope", "densities", "min_per_layer"} if self.scoped else set()))

    def inconsistencies(self, config: Config) -> Iterator[tuple[str, str]]:
        """Filters, ablations of one mask, options below 0, changes of the weights after the pruning."""
        yield from super().inconsistencies(config)
        if removes_units(config):
            yield "structure", f"{self.name} has a score for each single weight: leave out structure"
        if config.ablation == "shuffle":
            yield "ablation", f"ablation shuffle does not apply to {self.name}, whose masks change"
        for name, value in vars(self.chosen(config)).items() if self.options else ():
            if not 0 <= value < math.inf:
                yield f"criterion.{name}", f"criterion.{name} {value:g}: give a number from 0 on"
        yield from self._of_weights(config)

    def _of_weights(self, config: Config) -> Iterator[tuple[str, str]]:
        """The fields of training after the pruning that do not go with the rule."""
        plain_values = {"ablation": "none", "rewind_epoch": None, "retrain": "all", "retrain_loss": "plain"}
        for field, plain in plain_values.items():
            if getattr(config, field) != plain:
                yield field, f"{self.name} has no training after its masks: leave out {field}"

    def check_steps(self, config: Config, epoch: Callable[[], int]) -> None:
        """See that there is a step that trains scores."""
        steps = epoch()
        first, until = round(config.prune_epoch * steps), self.until(config, steps)
        if until - first < 1 + self.alternates:
            raise BadInput(
                f"prune_epoch {config.prune_epoch:g}: {self.name} has {max(0, until - first)} steps after it "
                f"to train masks; choose an earlier epoch, {self.longer}"
            )

    def until(self, config: Config, epoch: int) -> int:
        """The step at which the masks are final: the end of training.

        Args:
            epoch: steps of an epoch.
        """
        return self.steps(config, epoch)

    def first_scores(self, weight: Tensor, draws: torch.Generator) -> Tensor:
        """The scores that a layer begins with.

        Args:
            weight: of the layer, of any shape, on the CPU.
            draws: to draw from, on the CPU.
        """
        raise NotImplementedError

    def masks(self, config: Config, scores: Mapping[str, Tensor], groups: Sequence[Group]) -> pruners.Masks:
        """The masks of scores: the largest |score| of each group of layers that the scope makes.

        Args:
            groups: of the scope.
        """
        ranked = {name: score.abs() for name, score in scores.items()}
        return select(ranked, groups, [group.kept for group in groups], config.min_per_layer)

    def mapped(self, weight: Tensor, score: Tensor) -> Tensor:
        """The effective weights of a layer, where its mask keeps them."""
        return weight

    def slope(self, options: Any, weight: Tensor, mask: Tensor, score: Tensor, gradient: Tensor) -> Tensor:
        """The derivative of the loss in the scores of a layer.

        Masks follow from |score|, so that the derivative in a negative score has the other sign.

        Args:
            options: the rule's own; None: it has none.
            weight: the weights w of the layer, pruned ones included. All tensors have its shape.
            gradient: of the loss in the effective weights.
        """
        return weight * gradient * score.sign()

    def run(self, run: Run) -> None:
        """Train without masks, then train the masks."""
        run.dense(run.steps_of(run.config.prune_epoch))
        run.resume(reinit=False)
        masks = Scores(self, run)
        run.train("sparse", run.end, masks)
        run.record(masks.masks)


class Scores:
    """The scores, weights and masks of one training, and their optimizers.

    The parameters of the network are the effective weights at all times. Their gradient gives that of the
    scores, or of the weights. No step is one of the training's own optimizer.

    Attributes:
        weights: name → the weights w of a layer, pruned ones included.
        scores: name → the scores of a layer, of the shape of its weights.
        masks: of these scores.
    """

    def __init__(self, rule: Trained, run: Run) -> None:
        self.rule, self.run = rule, run
        self._first = run.steps_of(run.config.prune_epoch)
        self._options = rule.chosen(run.config) if rule.options else None
        self._effective = pruners.prunable(run.model, run.exclude)
        self.weights = {name: _parameter(weight) for name, weight in self._effective.items()}
        self.scores = self.weights if rule.one_tensor else self._first_scores()
        self._of_scores = self._optimizer(list(self.scores.values()))
        # Of the weights, and of the network's parameters that have no scores.
        others = [p for name, p in run.model.named_parameters() if name not in self.weights]
        self._of_weights = self._optimizer([*self.weights.values(), *others]) if rule.alternates else None
        self.masks: pruners.Masks = {}
        shapes = {name: tuple(weight.shape) for name, weight in self.weights.items()}
        kept = pruners.kept_count(run.total, run.config.sparsity)
        self._groups = divided(run.scope, shapes, kept)
        self._put_on()

    def _first_scores(self) -> dict[str, nn.Parameter]:
        draws = generator(self.run.config.roots.mask, "scores")
        scores = {}
        for name, weight in self.weights.items():
            # Drawn on a CPU without gaps: the same numbers on every device and in every layout.
            drawn = self.rule.first_scores(weight.detach().cpu().contiguous(), draws)
            scores[name] = _parameter(torch.empty_like(weight).copy_(drawn))
        return scores

    def _optimizer(self, trained: list[nn.Parameter]) -> torch.optim.Optimizer:
        config = self.run.config
        make = parts.bind(optimizer(config.optimizer).make, config.arguments("optimizer"))
        made: torch.optim.Optimizer = make([p for p in trained if p.requires_grad], config)
        return made

    def __call__(self, step: int) -> bool:
        """Train scores or weights by the gradients of a step, in place of the training's own optimizer."""
        of_weights = self._of_weights if (step - self._first) % 2 == 0 else None
        for name, effective in self._effective.items():
            gradient = torch.zeros_like(effective) if effective.grad is None else effective.grad
            weight, mask, score = self.weights[name].detach(), self.masks[name], self.scores[name].detach()
            if of_weights:
                self.weights[name].grad = gradient * mask
            else:
                slope = self.rule.slope(self._options, weight, mask, score, gradient)
                self.scores[name].grad = torch.empty_like(score).copy_(slope)
        chosen = of_weights or self._of_scores
        for group in chosen.param_groups:
            group["lr"] = self.run.learning_rate(step)
        chosen.step()
        self._put_on()
        return True

    def _choose(self) -> None:
        """Bring the masks to the scores."""
        scores = {name: score.detach() for name, score in self.scores.items()}
        self.masks = self.rule.masks(self.run.config, scores, self._groups)

    @torch.no_grad()
    def _put_on(self) -> None:
        """Give the network the effective weights, and the masks of the scores."""
        self._choose()
        for name, effective in self._effective.items():
            effective.copy_(self.rule.mapped(self.weights[name], self.scores[name]))
        self.run.mask(self.masks)

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the training of the masks depends on, but for the network."""
        return {
            "weights": {name: weight.detach() for name, weight in self.weights.items()},
            "scores": {name: score.detach() for name, score in self.scores.items()},
            "of_scores": self._of_scores.state_dict(),
            "of_weights": self._of_weights and self._of_weights.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, with a network that has its effective weights and masks already."""
        with torch.no_grad():
            for own, given in ((self.weights, state["weights"]), (self.scores, state["scores"])):
                for name, tensor in own.items():
                    tensor.copy_(given[name])
        # Copied, as an optimizer changes the tensors that it loads.
        self._of_scores.load_state_dict(copy.deepcopy(state["of_scores"]))
        if self._of_weights:
            self._of_weights.load_state_dict(copy.deepcopy(state["of_weights"]))
        self._choose()


def _parameter(tensor: Tensor) -> nn.Parameter:
    """A copy of a tensor, in its memory layout, as a parameter of its own."""
    return nn.Parameter(tensor.detach().clone())

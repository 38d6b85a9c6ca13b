"""The kinds of parts: where a study names them, and what each is given."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of part.

    Attributes:
        name: of the kind, and of its decorator in `sweep.parts`.
        field: of the config that names it, or the key of a study.
        group: of entry points, by which an installed package offers parts under bare names.
        inputs: what a trial gives it: each tuple is one form.
        gives: what it returns.
    """

    name: str
    field: str
    group: str
    inputs: tuple[tuple[str, ...], ...]
    gives: str

    @property
    def form(self) -> str:
        """What it is given and what it returns, as one line."""
        forms = (", ".join((*names, "*, …")) for names in self.inputs)
        return " or ".join(f"({form}) -> {self.gives}" for form in forms)


KINDS = {
    kind.name: kind
    for kind in (
        Kind("criterion", "criterion", "criteria", (("probe",), ("model", "batches", "loss")), "scores"),
        Kind("rule", "criterion", "rules", (("run",),), "None"),
        Kind("model", "model", "models", (("shape", "classes"),), "nn.Module"),
        Kind("dataset", "dataset", "datasets", ((), ("root",)), "(train, test)"),
        Kind("loss", "loss", "losses", (("outputs", "targets"),), "scalar"),
        Kind("metric", "metrics", "metrics", (("outputs", "targets"),), "number"),
        Kind("optimizer", "optimizer", "optimizers", (("parameters", "settings"),), "torch.optim.Optimizer"),
        Kind("lr_schedule", "lr_schedule", "lr_schedules", (("progress", "settings"),), "factor"),
        Kind("init", "init", "inits", (("weight",),), "None"),
        Kind("augment", "augment", "augmentations", (("images", "generator"),), "images"),
    )
}
# Field → the kinds that it can name; the first is what an object without a decorator is.
BY_FIELD = {
    field: tuple(kind for kind in KINDS.values() if kind.field == field)
    for field in dict.fromkeys(kind.field for kind in KINDS.values())
}

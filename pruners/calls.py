"""Which layer of a network is being called."""

from types import TracebackType

from torch import nn
from torch.utils.hooks import RemovableHandle


class Calls:
    """A context that follows the calls of a network's modules.

    Args:
        model: the network; its modules have hooks while the context lasts.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._names: list[str] = []
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> "Calls":
        for name, module in self._model.named_modules():
            self._handles += [
                module.register_forward_pre_hook(lambda *_, name=name: self._names.append(name)),
                module.register_forward_hook(lambda *_: self._leave()),
            ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    @property
    def name(self) -> str:
        """The innermost module that is being called; empty for the network itself."""
        return self._names[-1] if self._names else ""

    @property
    def layer(self) -> str:
        """The innermost module that is being called, in words."""
        return f"layer {self.name}" if self.name else "the network's own forward"

    def _leave(self) -> None:
        self._names.pop()

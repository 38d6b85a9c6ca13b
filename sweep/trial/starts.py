"""The trained weights that trials start from."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from sweep.errors import BadInput
from sweep.models import weights as files
from sweep.models.weights import State
from sweep.names import RUN
from sweep.store import weights as sent
from sweep.store.places import Place
from sweep.store.states import Store
from sweep.study.identity import Trial
from sweep.trial.prefixes import Shared
from sweep.trial.run import one_thread, prepared


def key(trial_id: str) -> str:
    """The key of the state with the final weights of a trial."""
    return f"run-{trial_id}"


@dataclass
class Starts:
    """Gives trained weights by their names in configs: those that were read last are kept in memory.

    The final weights of an earlier trial are read from the folder. If they are not there, the trial is run
    again, and its final weights are saved for others. On CPUs of one kind they are the same bit by bit.

    Attributes:
        folder: to which the launch has sent files of weights.
        data_root: folder of the data sets.
        device: that trials run on.
        earlier: trial_id → canonical config of the trials whose final weights may be asked for.
    """

    folder: Place
    data_root: str | Path = "data"
    device: str = "cpu"
    earlier: Mapping[str, str] = field(default_factory=dict)
    _last: tuple[str, State] | None = field(default=None, init=False)

    def __call__(self, name: str) -> State:
        """The weights of a name, on the CPU.

        Raises:
            BadInput: the file is missing or damaged, or the earlier trial has no final weights.
        """
        if not self._last or self._last[0] != name:
            self._last = None  # frees its memory first
            final = name.startswith(RUN)
            state = self._final(name) if final else files.parse(name, sent.read(name, self.folder))
            self._last = name, state
        return self._last[1]

    def _final(self, name: str) -> State:
        """The final weights of an earlier trial."""
        trial_id = name.removeprefix(RUN)
        store = Store(self.folder, self.device)
        saved = store.load(key(trial_id))
        if saved and isinstance(saved.get("model"), dict):
            state: State = saved["model"]
            return state
        if trial_id not in self.earlier:
            raise BadInput(f"weights {name}: there is no trial of this id: launch the study that names it")
        device = torch.device(self.device)
        with one_thread(device):
            config = Trial.parse(self.earlier[trial_id]).config
            stages = prepared(config, self.data_root, device, Shared(weights=replace(self)))
            if stages.run().outcome()["status"] != "ok":
                raise BadInput(f"weights {name}: the training of this trial diverged")
        state = {each: tensor.cpu() for each, tensor in stages.whole_state().items()}
        store.save(key(trial_id), {"model": state})
        return state

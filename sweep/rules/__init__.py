"""Rules: how the masks of a trial are chosen. Each rule is one object, in a file of its own.

The criteria of `pruners` share one rule, which scores the network once. A new rule is one new file and one
line in the table here. Nothing outside a rule's file compares its name.
"""

from sweep import parts
from sweep.rules.acdc import ACDC
from sweep.rules.bip import BIP
from sweep.rules.bip_code import BIP_CODE
from sweep.rules.dense import DENSE
from sweep.rules.east import EAST
from sweep.rules.edge_popup import EDGE_POPUP
from sweep.rules.gmp import GMP
from sweep.rules.granet import GRANET
from sweep.rules.hydra import HYDRA
from sweep.rules.imp import IMP
from sweep.rules.mest import MEST
from sweep.rules.obs import OBS
from sweep.rules.once import ONCE
from sweep.rules.oracle import ORACLE
from sweep.rules.own import own
from sweep.rules.rigl import RIGL
from sweep.rules.rule import Rule
from sweep.rules.run import Run
from sweep.rules.sap import SAP
from sweep.rules.set import SET
from sweep.rules.signed_supermask import SIGNED_SUPERMASK

__all__ = ["DENSE", "RULES", "Rule", "Run", "find"]

_ALONG = (GMP, SET, RIGL, GRANET, ACDC, MEST, EAST)
_TRAINED = (EDGE_POPUP, SIGNED_SUPERMASK, HYDRA, BIP, BIP_CODE)
RULES: dict[str, Rule] = {rule.name: rule for rule in (IMP, SAP, *_ALONG, *_TRAINED, ORACLE, OBS, DENSE)}


def find(criterion: str) -> Rule:
    """The rule that a criterion asks for.

    Raises:
        BadInput: it is a part of one's own, and its code is not here.
    """
    if parts.is_name(criterion) and parts.need(criterion).kind == "rule":
        return own(criterion)
    return RULES.get(criterion, ONCE)

"""What all algorithms share: hyperparameters, state, passes and models.

An algorithm's module imports from here; each name loads its own module when first asked for. The
driver, which algorithms do not know, is in `smalgos.learning.train`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smalgos.learning.minibatch import MiniBatch as MiniBatch
    from smalgos.learning.model import Algorithm as Algorithm
    from smalgos.learning.model import Model as Model
    from smalgos.learning.model import TextModel as TextModel
    from smalgos.learning.model import require_array as require_array
    from smalgos.learning.model import require_number as require_number
    from smalgos.learning.parameters import AUTO as AUTO
    from smalgos.learning.parameters import Parameters as Parameters
    from smalgos.learning.parameters import param as param
    from smalgos.learning.schedules import Constant as Constant
    from smalgos.learning.schedules import Factor as Factor
    from smalgos.learning.state import Mean as Mean
    from smalgos.learning.state import Part as Part
    from smalgos.learning.state import Pass as Pass
    from smalgos.learning.state import Spec as Spec
    from smalgos.learning.state import State as State
    from smalgos.learning.state import Sum as Sum
    from smalgos.learning.state import require_shaped as require_shaped
    from smalgos.learning.stopping import Stopping as Stopping

_HOMES = {
    "minibatch": ("MiniBatch",),
    "model": ("Algorithm", "Model", "TextModel", "require_array", "require_number"),
    "parameters": ("AUTO", "Parameters", "param"),
    "schedules": ("Constant", "Factor"),
    "state": ("Mean", "Part", "Pass", "Spec", "State", "Sum", "require_shaped"),
    "stopping": ("Stopping",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"smalgos.learning.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

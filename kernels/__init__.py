"""Arrays to arrays: the numerical kernels of all algorithms.

`load` is the only place that maps a device to modules.
"""

import importlib
from functools import lru_cache
from types import ModuleType, SimpleNamespace
from typing import Any

from smalgos.errors import UserError

DEVICES = ("cpu", "auto")


def _public(module: ModuleType) -> dict[str, Any]:
    """What a module offers: `__all__`, or every name without underscore that is no module."""
    names = getattr(module, "__all__", None)
    if names is None:
        names = [
            n for n, v in vars(module).items() if n[0] != "_" and not isinstance(v, ModuleType)
        ]
    return {name: getattr(module, name) for name in names}


@lru_cache
def load(name: str, device: str = "cpu") -> SimpleNamespace:
    """The kernels of one subject on one device.

    Parameters
    ----------
    name : str
        Name of a module of kernels, say "linear".
    device : {"cpu", "auto"}
        Where they run. "auto" takes the best device there is.

    Returns
    -------
    SimpleNamespace
        The functions of the module, and those that all share: `xp`, `asarray`, `to_host`,
        `device`, `threads`, `run`, `uniforms`, `total`, ...

    Raises
    ------
    UserError
        If there is no such device.
    """
    if device == "gpu":
        raise UserError('device="gpu": this version has no GPU kernels; use "cpu" or "auto"')
    if device not in DEVICES:
        raise UserError(f'device="{device}": give one of {", ".join(DEVICES)}')
    shared = importlib.import_module("smalgos.kernels.cpu.shared")
    module = importlib.import_module(f"smalgos.kernels.cpu.{name}")
    return SimpleNamespace(**{**_public(shared), **_public(module)})

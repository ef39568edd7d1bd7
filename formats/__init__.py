"""Bytes to arrays and back: RecordIO-protobuf, CSV, streams of blocks. Knows no algorithm.

>>> from smalgos.formats import iter_blocks, read, write
>>> block = read(b"1,0.5,2\\n0,1.5,3\\n", "text/csv")
>>> block.features.shape
(2, 2)

Nothing is imported before it is asked for: formats bring compiled code along.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smalgos.formats.block import Block, Csr, Ragged
    from smalgos.formats.io import iter_blocks, read, write

__all__ = ["Block", "Csr", "Ragged", "iter_blocks", "read", "write"]

_HOME = {
    "Block": "block",
    "Csr": "block",
    "Ragged": "block",
    "iter_blocks": "io",
    "read": "io",
    "write": "io",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"smalgos.formats.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

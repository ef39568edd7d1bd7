"""Type stubs of the package's face: constructors that are made at run time, written out.

``python -m smalgos.estimators.stubs`` writes ``smalgos/__init__.pyi`` anew; a test compares.
"""

from pathlib import Path

import smalgos
from smalgos.learning.parameters import type_name

HEAD = """\
# Written by `python -m smalgos.estimators.stubs`. Do not edit.
from pathlib import Path
from typing import Any

from smalgos.errors import AlgorithmError as AlgorithmError
from smalgos.errors import NotReady as NotReady
from smalgos.errors import PlatformError as PlatformError
from smalgos.errors import UserError as UserError
{imports}
from smalgos.learning.series import shingle as shingle

__version__: str
_ESTIMATORS: dict[str, str]

def load(path: str | Path, device: str = "auto") -> Any: ...
"""
WIDTH = 100  # of a line
# Generators of scikit-learn, functions of the user.
TAKES_MORE = ("random_state", "objective", "eval_metric")
CLASS = """
class {name}(_{name}):
    def __init__(
        self,
        *,
{arguments}
    ) -> None: ...
"""


def stubs() -> str:
    """The text of ``smalgos/__init__.pyi``."""
    imports, classes = [], []
    for name, module in sorted(smalgos._ESTIMATORS.items(), key=lambda item: item[::-1]):
        line = f"from smalgos.estimators.{module} import {name} as _{name}"
        if len(line) > WIDTH:
            line = line.replace("import ", "import (\n    ") + ",\n)"
        imports.append(line)
        cls = getattr(smalgos, name)
        table = cls.algorithm.parameters.table
        arguments = []
        for argument, default in cls.constructor_defaults().items():
            kind = type_name(table[argument]) if argument in table else "Any"
            if argument in TAKES_MORE:
                kind = "Any"
            kind = kind.replace("list", "list[Any]")
            written = f'"{default}"' if isinstance(default, str) else repr(default)
            arguments.append(f"        {argument}: {kind} = {written},")
        classes.append(CLASS.format(name=name, arguments="\n".join(arguments)))
    return HEAD.format(imports="\n".join(imports)) + "".join(classes)


if __name__ == "__main__":
    (Path(smalgos.__file__).parent / "__init__.pyi").write_text(stubs())

"""The process of one cell: calls one function and prints its answer as JSON.

``python -P cell.py module:function '{"argument": ...}'``. The interpreter may be another
environment's: nothing of smalgos is imported here.
"""

import importlib
import json
import os
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MARK = "benchmark answer: "


def main() -> int:
    """Exit code 0, also when the cell failed: then the answer says why."""
    where, arguments = sys.argv[1], json.loads(sys.argv[2])
    sys.path.append(str(ROOT))
    warnings.simplefilter("ignore")
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[: int(os.environ["OMP_NUM_THREADS"])])
    module, _, name = where.partition(":")
    try:
        answer = getattr(importlib.import_module(module), name)(**arguments) or {}
        answer.pop("value", None)
    except ModuleNotFoundError as e:
        answer = {"status": f"not installed: {e.name}"}
    except Exception as e:
        said = (str(e).strip().splitlines() or [""])[0][:200]
        failed = f"failed: {type(e).__name__}: {said}"
        answer = {"status": "data not at hand" if type(e).__name__ == "NotAtHand" else failed}
    print(MARK + json.dumps(answer), flush=True)
    # Some libraries' threads abort while the interpreter is taken down; the answer is out.
    os._exit(0)


if __name__ == "__main__":
    main()

"""RecordIO-protobuf files to arrays and back, beside the original's Python SDK."""

import os
from pathlib import Path

from benchmarks.goals import Goal, least
from benchmarks.runner import Case, Cell

TITLE = "RecordIO"
ABOUT = (
    "Files in the page cache to NumPy arrays, and arrays to the bytes of a file in memory. The SDK "
    "reads with `read_records` and then builds the arrays; it runs in an environment of its own. "
    "*identical* is 1 when its writer made the same bytes as ours."
)
ROWS = {"quick": 2_000, "default": 50_000, "full": 400_000}
DENSE, SPARSE = "100 float32 and a label", "30 of 10 000 values and a label"
SDK = "SageMaker SDK"
PEER = "benchmarks.peers.sagemaker_sdk"


def cases(folder: Path, size: str) -> list[Case]:
    """Two kinds of rows, read and written."""
    python = os.environ.get("SMALGOS_ORACLE_SDK")
    missing = "" if python else "not installed: make oracles"
    made = False
    found = []
    for kind, about in (("dense", DENSE), ("sparse", SPARSE)):
        file = str(folder / f"{kind}.pbr")
        for verb in ("read", "write"):
            given = {"path": file} if verb == "read" else {"folder": str(folder), "expected": file}
            ours = given | {"kind": kind}
            cells = [Cell("smalgos", f"benchmarks.peers.ours:{verb}_recordio", ours)]
            if verb == "read":
                stream = "benchmarks.peers.ours:stream_recordio"
                cells.append(Cell("smalgos, in blocks", stream, ours))
            cells.append(Cell(SDK, f"{PEER}:{verb}_{kind}", given, python=python, missing=missing))
            prepare = ("benchmarks.peers.ours:make_recordio",
                       {"folder": str(folder), "rows": ROWS[size]})  # fmt: skip
            found.append(Case(f"{verb} {about}", cells, None if made else prepare))
            made = True
    return found


GOALS = (
    Goal("read dense rows at 1 GB/s", least(1.0), lambda r: r.rate(f"read {DENSE}"), "GB/s"),
    *(
        Goal(
            f"{verb} {kind} rows {bound} x as fast as the SDK", least(bound),
            lambda r, case=f"{verb} {about}": r.times(case, SDK),
        )
        for verb, kind, about, bound in (
            ("read", "dense", DENSE, 100), ("read", "sparse", SPARSE, 60),
            ("write", "dense", DENSE, 50), ("write", "sparse", SPARSE, 50),
        )
    ),
    *(
        Goal(
            f"write {kind} rows to the SDK's bytes", least(1),
            lambda r, case=f"write {about}": r.quality(case, SDK, "identical"), "",
        )
        for kind, about in (("dense", DENSE), ("sparse", SPARSE))
    ),
)  # fmt: skip

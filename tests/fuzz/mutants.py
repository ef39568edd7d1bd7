"""Files that are wrong on purpose, against the compiled readers.

Arrays of the readers end at a page that cannot be touched (see `fence`). The input at hand is
kept in a file, in memory that outlives the process if it dies of it.
"""

import argparse
import json
import mmap
import random
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.fuzz import (
    booster_files,
    csv_files,
    json_files,
    libsvm_files,
    model_files,
    properties,
    recordio_files,
    seeds,
    text_files,
    vector_files,
)
from tests.fuzz.fence import Fence, limit_memory
from tests.fuzz.spoil import pick, spoil

ROOM = 1 << 20  # bytes of the file that keeps the input at hand
MEMORY = 1 << 30  # bytes that a worker may take beyond what its seeds need


def packed_files(rng: random.Random) -> Iterator[bytes]:
    """Damaged gzip files, without end."""
    words = [bytes([n]) for n in range(256)]
    packed = seeds.packed()
    while True:
        yield spoil(rng, pick(rng, packed), pick(rng, packed), words)


GENERATORS: dict[str, Callable[[random.Random], Iterator[bytes]]] = {
    "recordio": recordio_files.generate,
    "csv": csv_files.generate,
    "lines": csv_files.single_lines,
    "libsvm": libsvm_files.generate,
    "libffm": libsvm_files.generate_fielded,
    "jsonlines": json_files.generate_lines,
    "json": json_files.generate_documents,
    "texts": text_files.generate,
    "gzip": packed_files,
    "model": model_files.generate,
    "booster": booster_files.generate,
    "fasttext": vector_files.generate_fasttext,
    "word2vec": vector_files.generate_word2vec,
}


def main() -> None:
    """``python -m tests.fuzz.mutants READER... --runs N --seed S --note FILE.note``"""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readers", nargs="+", choices=GENERATORS)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--note", type=Path, default=Path("finding.note"))
    given = parser.parse_args()
    given.note.write_bytes(bytes(ROOM))
    with given.note.open("r+b") as file:
        note = mmap.mmap(file.fileno(), ROOM)
    warnings.simplefilter("ignore", RuntimeWarning)  # of numbers beyond float32, in the reference
    for reader in given.readers:
        for data in seeds.SEEDS[reader]():  # compiles what will be needed
            properties.PROPERTIES[reader](data)
    properties.rates = properties.Rates(cut=8, judge=8, memory=1024)
    fence = put_up_fence()
    limit_memory(MEMORY)
    for reader in given.readers:
        inputs = GENERATORS[reader](random.Random(given.seed))
        check, accepted, longest = properties.PROPERTIES[reader], 0, 0.0
        cpu, last = time.process_time(), time.perf_counter()
        for _ in range(given.runs):
            data = next(inputs)
            note[: 8 + len(data)] = len(data).to_bytes(8, "little") + data
            fence.allocated = 0
            accepted += check(data)
            # three readings, of which each may double its buffers
            bound = 3 * (properties.SLACK + properties.TIMES * len(data))
            assert fence.allocated < bound, f"{fence.allocated} bytes for {len(data)}"
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        cpu = time.process_time() - cpu
        done = {"reader": reader, "runs": given.runs, "accepted": accepted}
        sys.stdout.write(json.dumps(done | {"cpu": cpu, "longest": longest}) + "\n")


def put_up_fence() -> Fence:
    """Let the readers make their arrays in front of forbidden pages.

    What is compiled has looked up `np` already and keeps it.
    """
    fence = Fence()
    for name, module in list(sys.modules.items()):
        if name.startswith("smalgos.formats.") and hasattr(module, "np"):
            module.np = fence  # type: ignore[attr-defined]
    properties.np = fence  # type: ignore[assignment]
    return fence


if __name__ == "__main__":
    main()

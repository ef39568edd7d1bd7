"""Where compiled code is kept."""

import json
import os
import subprocess
import sys

import pytest

from smalgos._jit import COMPILED

PROGRAM = """
import json, os, sys
if sys.argv[1] == "sealed":
    os.access = lambda path, mode, **options: False
from smalgos._jit import kernel
import smalgos.formats.recordio as recordio
import numpy as np
found = np.zeros((2, 1), np.int64)
recordio.find_records(np.zeros(8, np.uint8), 0, 8, True, *found)
stats = recordio.find_records.stats
folder = os.environ["NUMBA_CACHE_DIR"]
print(json.dumps([folder, sum(stats.cache_hits.values()), sum(stats.cache_misses.values())]))
"""


def run(how: str, folder) -> list:
    given = {**os.environ, "NUMBA_CACHE_DIR": str(folder)}
    command = [sys.executable, "-c", PROGRAM, how]
    done = subprocess.run(command, env=given, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(not COMPILED, reason="nothing is compiled")
def test_a_cache_that_cannot_be_written_to_is_read(tmp_path):
    """As in an image whose root is read-only."""
    assert run("open", tmp_path) == [str(tmp_path), 0, 1]
    before = sorted(tmp_path.rglob("*"))
    folder, hits, misses = run("sealed", tmp_path)
    assert folder != str(tmp_path)
    assert (hits, misses) == (1, 0)
    assert not os.path.exists(folder)  # it went with its process
    assert sorted(tmp_path.rglob("*")) == before

"""The same bits on processors with and without AVX-512."""

import os
import subprocess
import sys

import pytest

from smalgos._jit import COMPILED

PROGRAM = """
import hashlib, sys
import numpy as np
from smalgos.kernels.cpu import linear, losses, moments, optimizers, tile

rng = np.random.default_rng(3)
X = rng.standard_normal((701, 53)).astype(np.float32)
y = rng.integers(0, 2, 701).astype(np.float32)
seen = hashlib.sha256()
for code, classes in ((losses.LOGISTIC, 1), (losses.SOFTMAX, 5), (losses.HUBER, 1)):
    for step in range(7):
        plan = linear.groups(9, classes)
        method = linear.Method(losses.Loss(code), linear.optimizer(step), classes)
        given = linear.start(np.zeros((54, 9 * classes)), method, plan, decay=0.1, l1=0.01)
        rates = linear.spread(np.full((8, 9), 0.05), plan, classes)
        linear.train_dense(X, None, X[0], X[1], y, None, 100, given, rates, 1, method, plan)
        for array in (given.W, given.slots, given.sums):
            seen.update(array.tobytes())
        raw = linear.score_dense(X, given.W, plan, classes, X[0], X[1])
        seen.update(losses.link(code, raw, classes).tobytes())
gram, total = np.zeros((53, 53)), np.zeros(53)
moments.add_moments(X, X[0], gram, total)
seen.update(np.triu(gram).tobytes() + total.tobytes())
sys.stdout.write(f"{tile.TALL} {seen.hexdigest()}")
"""


def run_for(processor: str) -> list[str]:
    environment = {**os.environ, "NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": ""}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, check=True, capture_output=True
    )
    return done.stdout.decode().split()


@pytest.mark.slow
@pytest.mark.skipif(not COMPILED, reason="compares compiled code")
def test_bits_do_not_depend_on_the_processor():
    import llvmlite.binding as llvm

    if not llvm.get_host_cpu_features().get("avx512f"):
        pytest.skip("this processor has no AVX-512 to compare with AVX2")
    (tall, wide_hash), (low, narrow_hash) = run_for("x86-64-v4"), run_for("x86-64-v3")
    assert (tall, low) == ("12", "6")
    assert wide_hash == narrow_hash

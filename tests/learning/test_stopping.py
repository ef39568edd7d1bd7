"""When to stop, and how rates decay."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from smalgos.learning.schedules import Constant, Factor
from smalgos.learning.stopping import Stopping


def test_the_published_run_stops_after_its_tenth_epoch():
    """Adult, 32 models: the criterion per epoch as printed by the original, patience 3."""
    values = [.401716, .394235, .389156, .386644, .385345, .384641, .384261, .384056, .383945,
              .383888]  # fmt: skip
    stopping = Stopping(3, 0.001)
    over = []
    for epoch, value in enumerate(values):
        stopping.offer(value, epoch)
        over.append(stopping.over)
    assert over == [False] * 9 + [True]
    assert stopping.at == 9  # the best is the best, however small its gain


@given(st.lists(st.floats(-100, 100), min_size=1))
def test_max_is_min_of_the_negative(values):
    up, down = Stopping(2, 0.01, "max"), Stopping(2, 0.01, "min")
    for i, value in enumerate(values):
        assert up.offer(value, i) == down.offer(-value, i)
        assert (up.over, up.bad, up.at) == (down.over, down.bad, down.at)
    assert up.at == int(np.argmax(values))


def test_factor_decays_after_every_step_steps():
    """MXNet's scheduler, step by step."""
    schedule = Factor(np.float32([0.1, 0.005]), np.array([10, 3]), 0.5, np.float32([0.02, 1e-5]))
    rate, count, slow = 0.1, 0, []
    for update in range(1, 41):  # its own loop: decays when update > count + step
        while update > count + 10:
            count += 10
            rate = max(rate * 0.5, 0.02)
        slow.append(rate)
    got = schedule(np.arange(1, 41))
    np.testing.assert_allclose(got[:, 0], slow, rtol=1e-6)
    np.testing.assert_allclose(
        got[:7, 1], 0.005 * 0.5 ** np.array([0, 0, 0, 1, 1, 1, 2]), rtol=1e-6
    )
    assert np.array_equal(Constant(np.float32([1, 2]))(np.arange(3)), np.float32([[1, 2]] * 3))

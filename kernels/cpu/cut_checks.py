"""Whether a point will do, for who cannot wait: NumPy takes microseconds to tell."""

from smalgos._jit import kernel


@kernel(fastmath=False)
def within(point, limit):
    """Whether no coordinate of a point (d,) float32 is NaN or beyond a limit."""
    good = True
    for k in range(len(point)):
        good &= abs(point[k]) <= limit  # false of NaN
    return good

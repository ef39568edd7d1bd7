"""Principal component analysis from one pass of sums.

The rows x of n x d data have scatter ``C = sum (x - mean)' (x - mean)``. Its eigenvectors with
the largest eigenvalues are the components ``v`` (d x k), the roots of these eigenvalues the
singular values ``s`` of the centred data. What is summed is taken about the mean of the first
rows, so that large means cancel before they are squared; sparse rows are summed as they are, and
the mean is taken out of the sums.

``regular``      all of C: exact, O(d^2) memory, O(n d^2) time.
``stable``       the same with products in float64.
``randomized``   C times l = num_components + extra_components directions: O(d l) memory, O(n d l)
                 time, singular values that are a little too small. Half of the directions are
                 the components of the first rows, the others random.

Differences from the original: the trace of C and n are kept, so that shares of variance are exact;
signs are fixed (the largest loading of a component is positive); ``randomized`` sketches C where
the original sketches the rows, which takes the same memory and comes as near as one step of the
power method (a step more for each of `epochs`); `num_components` may be a share of the variance;
`whiten`. Components are served in ascending order, least important first, as the original does;
`smalgos.PCA` gives them in descending order.
"""

from smalgos.algorithms.pca.model import PCAModel
from smalgos.algorithms.pca.parameters import PCAParameters
from smalgos.algorithms.pca.state import PCAState
from smalgos.learning import Algorithm

__all__ = ["ALGORITHM", "PCAModel", "PCAParameters", "PCAState"]

ALGORITHM = Algorithm(
    name="pca",
    label="PCA",
    parameters=PCAParameters,
    state=PCAState,
    model=PCAModel,
    channels=("train", "[test]"),
    envelope="projections",
    fields=("projection",),
    summary="principal components, exact or from a sketch, in one pass",
)

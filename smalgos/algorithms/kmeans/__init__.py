"""K-Means: centres near which all rows are, by one pass over a stream or by Lloyd's iterations.

The objective is ``ssd = sum over rows of w min_j |x - c_j|^2``; ``msd`` is ssd over the weight of
the rows.

`solver="webscale"` is the original's single pass: K = k * extra_center_factor centres follow the
mini-batches of a stream (Sculley, "Web-scale k-means clustering", WWW 2010), each the running mean
of the rows that were nearest to it; a few weighted Lloyd runs then shrink them to k. They summarise
all that was seen (a coreset), so memory is O(K d) whatever the number of rows, states of several
workers merge by addition, and models of fewer clusters need no second look at the data. Time is
O(n d K) per epoch.

`solver="lloyd"` holds all rows and runs Lloyd's iterations on them (IEEE TIT 28(2), 1982), with
the same `local_lloyd_` hyperparameters.

Differences from the original: random numbers are seeded, so that a run can be repeated to the
byte; initial centres are rows that differ, and where the first rows have too few of them, later
rows that are far from all centres become some; rows may have weights; `train msd` is the loss over
the K centres, as there, and the msd over the rows is told beside it.
"""

from smalgos.algorithms.kmeans.model import KMeansMetrics, KMeansModel
from smalgos.algorithms.kmeans.parameters import KMeansParameters
from smalgos.algorithms.kmeans.state import KMeansState
from smalgos.learning.model import Algorithm

ALGORITHM = Algorithm(
    name="kmeans",
    label="AWS/KMeansWebscale",
    parameters=KMeansParameters,
    state=KMeansState,  # type: ignore[type-abstract]  # it makes one of its subclasses
    model=KMeansModel,
    channels=("train", "[test]", "[model]"),
    envelope="predictions",
    fields=("closest_cluster", "distance_to_cluster"),
    metrics=KMeansMetrics,
    scores=("msd", "ssd"),
    summary="clusters around means, from one pass over a stream or by exact iterations",
)

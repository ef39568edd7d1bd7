"""K-Nearest Neighbors: a row is what the nearest rows of a sample are.

Training draws `sample_size` rows at random as they stream by, projects them to fewer features if
that is asked for, and, for the two approximate kinds of index, learns centroids by K-Means: each
row is in the list of the nearest one (IVFFlat), maybe as a few bytes that say how it differs from
it (IVFPQ). A classifier answers with the label that most of the k nearest rows have, the smallest
one where several are as frequent; a regressor with the mean of their labels.

Exact search costs O(sample_size d) a row, the lists about O(sqrt(sample_size) nprobe d); memory is
O(sample_size d), with codes O(sample_size faiss_index_pq_m).

Differences from the original: which rows are drawn depends on `random_state` and their numbers
alone, so that parts of a stream give the sample of the whole; lists beyond `nprobe` are read until
there are k rows; codes of fewer than 256 rows use as many codes; `nprobe` and `weights` can be
chosen; rows can be added. Distances are squared ones, products come in descending order.

References: Cover and Hart, "Nearest neighbor pattern classification", IEEE TIT 13 (1967); Johnson,
Douze and Jegou, "Billion-scale similarity search with GPUs", IEEE TBD 7 (2021).
"""

from smalgos.algorithms.knn.model import KNNModel
from smalgos.algorithms.knn.parameters import KNNParameters
from smalgos.algorithms.knn.scores import SCORES, scores_of
from smalgos.algorithms.knn.state import KNNState
from smalgos.learning.model import Algorithm

ALGORITHM = Algorithm(
    name="knn",
    label="AWS/KNN",
    parameters=KNNParameters,
    state=KNNState,
    model=KNNModel,
    channels=("train", "[test]"),
    envelope="predictions",
    fields=("predicted_label", "distances", "labels"),
    verbose=True,
    metrics=scores_of,
    scores=SCORES,
    judged_on_train=False,
    summary="classification and regression by the nearest rows, exact or by an index",
)

"""Random Cut Forest: a row is an anomaly if random cuts part it from all else soon.

Training draws ``num_trees * num_samples_per_tree`` rows at random as they stream by and deals them
out to the trees. A tree cuts the bounding box of its rows: the feature by chance in proportion to
the box's sides, the value uniformly, and so on until the rows of a node are all alike. A row's
score in a tree of M rows is the expectation of ``1 / depth`` over where chance would have put the
row, had it been among them, times ``log2(M + 1)``; the forest's is the mean over its trees. Most
rows score below 1, what is far from all else up to ``log2(M + 1)``.

The time of training is that of reading and O(T M d log M), of a score O(T log M d); memory is
O(T M d).

Differences from the original: which rows are drawn depends on `random_state` and their numbers
alone, so that samples of parts of a stream merge to that of the whole; `partition` says whether
trees get consecutive rows, as there, or rows by chance, of which each tree gets
`num_samples_per_tree` even where there are not enough for all; old rows may count less
(`time_decay`); rows of a series may be joined (`shingle_size`); the model knows which scores are
those of anomalies, and what features are to blame (verbose answers).

References: Guha, Mishra, Roy and Schrijvers, "Robust random cut forest based anomaly detection on
streams", ICML 2016.
"""

from smalgos.algorithms.random_cut_forest.model import RandomCutForestModel
from smalgos.algorithms.random_cut_forest.parameters import RandomCutForestParameters
from smalgos.algorithms.random_cut_forest.scores import SCORES, scores_of
from smalgos.algorithms.random_cut_forest.state import RandomCutForestState
from smalgos.learning.model import Algorithm

ALGORITHM = Algorithm(
    name="randomcutforest",
    label="RandomCutForest",
    parameters=RandomCutForestParameters,
    state=RandomCutForestState,
    model=RandomCutForestModel,
    channels=("train", "[test]"),
    envelope="scores",
    fields=("score",),
    verbose=True,
    metrics=scores_of,
    scores=SCORES,
    judged_on_train=False,
    summary="anomalies by random cuts: batch, attributed, with a threshold",
)

"""Random Cut Forest that follows a stream: each row is scored, then learnt.

Each of T trees holds a sample of C points of the stream, in which old ones become rare: a point of
age t weighs ``exp(-time_decay t)``. A point that enters a sample is inserted into its tree, the one
that leaves is deleted, so that a tree is at any time distributed like one that was grown from its
sample alone (Guha, Mishra, Roy, Schrijvers, ICML 2016). A row costs O(T depth) to score and less to
learn, whatever came before; memory is O(T C d).

A point is a row, or, with ``internal_shingling``, the last `shingle_size` rows of a series, each
`shingle_lag` rows after the one before. What is missing (NaN) is imputed from the forest if that is
asked for, and rows that timestamps tell to be missing, too.

This is an extension: no image of the original has it. It is what AWS's open library
random-cut-forest-by-aws does, with its hyperparameters and its score. Differences: which points are
held depends on `random_state` and their numbers alone, so that a stream gives the same forest
however it is cut into blocks, and after a stop anywhere; a model file holds the trees themselves
and resumes to the bit; `shingle_lag` and `contamination` are ours.

References: Guha, Mishra, Roy, Schrijvers, "Robust Random Cut Forest Based Anomaly Detection On
Streams", ICML 2016; Efraimidis, Spirakis, "Weighted random sampling with a reservoir", Inf.
Process. Lett. 97, 2006.
"""

from smalgos.algorithms.random_cut_forest.scores import SCORES, AnomalyMetrics
from smalgos.algorithms.streaming_random_cut_forest.model import StreamingRandomCutForestModel
from smalgos.algorithms.streaming_random_cut_forest.parameters import (
    StreamingRandomCutForestParameters,
)
from smalgos.algorithms.streaming_random_cut_forest.state import StreamingRandomCutForestState
from smalgos.learning import Algorithm

__all__ = [
    "ALGORITHM",
    "StreamingRandomCutForestModel",
    "StreamingRandomCutForestParameters",
    "StreamingRandomCutForestState",
]

ALGORITHM = Algorithm(
    name="streaming-randomcutforest",
    label="StreamingRandomCutForest",
    parameters=StreamingRandomCutForestParameters,
    state=StreamingRandomCutForestState,
    model=StreamingRandomCutForestModel,
    channels=("train", "[test]"),
    envelope="scores",
    fields=("score",),
    verbose=True,
    metrics=lambda model: AnomalyMetrics(),
    scores=SCORES,
    judged_on_train=False,
    summary="anomaly scores of a stream, by trees that follow it",
)

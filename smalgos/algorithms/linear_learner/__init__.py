"""Linear Learner: many linear models trained side by side on the same batches, the best one kept.

A model scores ``f(x) = w . x + b``. For every combination of what the hyperparameters leave
"auto" (learning rate, L2 strength, schedule: 32 at most) one model is trained by mini-batch
gradient steps, all of them as one matrix product per batch over one pass of the data. Features
are scaled by mean and deviation of the first rows; the scaling is folded back into the weights,
so that the model takes raw features. After each epoch all models are scored, on the validation
rows if there are any; the best (model, epoch) is kept, and for binary classifiers the threshold
that serves the chosen criterion best.

Cost: O(n d num_models num_classes) per epoch; memory O(d num_models num_classes) beside one block.

Differences from the original: gradients are applied synchronously and in order, so that the same
data, seed and hyperparameters give the same bytes; every optimizer of the library can be chosen;
`shuffle` and `drop_last` make its two habits explicit; L1 is a proximal step and gives exact
zeros.
"""

from smalgos.algorithms.linear_learner.model import LinearModel
from smalgos.algorithms.linear_learner.parameters import LinearLearnerParameters
from smalgos.algorithms.linear_learner.scores import LinearMetrics, score_names
from smalgos.algorithms.linear_learner.state import LinearLearnerState
from smalgos.learning.model import Algorithm

ALGORITHM = Algorithm(
    name="linear-learner",
    label="Linear Learner",
    parameters=LinearLearnerParameters,
    state=LinearLearnerState,
    model=LinearModel,
    channels=("train", "[validation]", "[test]", "[model]"),
    envelope="predictions",
    fields=("score", "predicted_label"),
    metrics=LinearMetrics,
    scores=score_names(),
    summary="linear models for regression and classification, many at once",
)

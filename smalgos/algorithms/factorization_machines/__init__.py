"""Factorization Machines: a linear model and all pairs of features, by inner products of factors.

The margin of a row is ``m(x) = w0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j`` with a factor
v_i of num_factors numbers for each feature (Rendle, "Factorization Machines", ICDM 2010), worked
out in O(nnz num_factors). A regressor answers m and learns by squared error; a binary classifier
answers ``1 / (1 + exp(-m))`` and learns by log loss. Beside the original's ``interaction=pairwise``
there are ``field_aware``, where v_i has a factor for each field and a pair takes those of each
other's (Juan et al., "Field-aware Factorization Machines for CTR Prediction", RecSys 2016), and
``field_weighted``, where a pair counts times a weight of its two fields (Pan et al.,
"Field-weighted Factorization Machines", WWW 2018).

Training is by mini-batches and an optimizer that moves only the features of the batch's rows, as
the original's does: moments and decay of others stand still meanwhile.

Cost: O(nnz num_factors) per epoch (field-aware: O(nnz per row squared)); memory O(d num_factors),
times 1 + the optimizer's slots while training.

Differences from the original: random numbers are seeded and updates come in order, so that a run
can be repeated to the byte; optimizers but adam, L1, rows with weights, any format of rows, fields;
`shuffle` and `pad_last` make two of its habits explicit; with a validation channel the best epoch
is kept and training stops early.
"""

from smalgos.algorithms.factorization_machines.model import FactorizationMachine
from smalgos.algorithms.factorization_machines.parameters import FactorizationMachinesParameters
from smalgos.algorithms.factorization_machines.scores import SCORES, scores_of
from smalgos.algorithms.factorization_machines.state import FactorizationMachinesState
from smalgos.learning.model import Algorithm

ALGORITHM = Algorithm(
    name="factorization-machines",
    label="factorization-machines",
    parameters=FactorizationMachinesParameters,
    state=FactorizationMachinesState,
    model=FactorizationMachine,
    channels=("train", "[validation]", "[test]", "[model]"),
    envelope="predictions",
    fields=("score", "predicted_label"),
    metrics=scores_of,
    scores=SCORES,
    judged_on_train=False,
    summary="pairs of features by inner products of factors, for sparse rows",
)

"""What every registered algorithm must hold: written once, run over all of them."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.algorithms import MODULES, algorithm, load_model
from smalgos.errors import NotReady, UserError
from smalgos.formats.block import Block, Csr
from smalgos.formats.channel import Arrays, Stream
from smalgos.learning import Spec
from smalgos.learning.train import Checkpoint, end_pass, run_pass, train

# Hyperparameters that make a small, complete run; one entry per kind of run worth telling apart.
RUNS = {
    "blazingtext": [],  # whose rows are texts: see test_blazingtext
    "ipinsights": [],  # the same: see test_ip_insights
    "kmeans": [
        {"k": "4", "mini_batch_size": "32", "extra_center_factor": "5", "epochs": "2"},
        {"k": "3", "init_method": "kmeans++", "mini_batch_size": "100",
         "half_life_time_size": "200"},
        {"k": "3", "solver": "lloyd", "local_lloyd_max_iter": "6", "local_lloyd_num_trials": "2"},
    ],
    "knn": [
        {"predictor_type": "classifier", "k": "3", "sample_size": "2000"},
        {"predictor_type": "classifier", "k": "5", "sample_size": "2500", "index_metric": "COSINE",
         "dimension_reduction_type": "sign", "dimension_reduction_target": "4"},
        {"predictor_type": "regressor", "k": "4", "sample_size": "2500", "nprobe": "100",
         "index_type": "faiss.IVFFlat", "weights": "distance"},
        {"predictor_type": "regressor", "k": "4", "sample_size": "2500", "faiss_index_pq_m": "2",
         "index_type": "faiss.IVFPQ"},
    ],
    "pca": [
        {"num_components": "3"}, {"num_components": "2", "algorithm_mode": "stable"},
        {"num_components": "3", "algorithm_mode": "randomized", "epochs": "2"},
    ],
    "randomcutforest": [
        {"num_trees": "50", "num_samples_per_tree": "8", "partition": "shuffled"},
        {"num_trees": "50", "num_samples_per_tree": "40", "time_decay": "0.001",
         "contamination": "0.1"},
    ],
    "streaming-randomcutforest": [
        {"num_trees": "20", "num_samples_per_tree": "32"},
        {"num_trees": "5", "num_samples_per_tree": "16", "shingle_size": "3",
         "internal_shingling": "true", "initial_accept_fraction": "0.5"},
    ],
    "thresholded-randomcutforest": [
        {"num_trees": "10", "num_samples_per_tree": "32", "transform_method": "NORMALIZE"},
        {"num_trees": "5", "num_samples_per_tree": "16", "shingle_size": "3",
         "forest_mode": "STREAMING_IMPUTE", "weights": "[1, 1, 2, 1, 0]",
         "transform_method": "SUBTRACT_MA"},
    ],
    "factorization-machines": [
        {"predictor_type": "binary_classifier", "num_factors": "4", "mini_batch_size": "32",
         "epochs": "3", "linear_lr": "0.05", "factors_lr": "0.01"},
        {"predictor_type": "regressor", "num_factors": "3", "mini_batch_size": "50",
         "normalize_label": "true", "optimizer": "ftrl", "pad_last": "false",
         "linear_lr": "0.1", "factors_lr": "0.1", "interaction": "field_weighted",
         "fields": "[2, 2, 1]"},
        {"predictor_type": "regressor", "num_factors": "2", "mini_batch_size": "40", "epochs": "2",
         "interaction": "field_aware", "fields": "[0, 1, 1, 0, 2]", "optimizer": "adagrad",
         "linear_lr": "0.1", "factors_lr": "0.1"},
    ],
    "linear-learner": [
        {"predictor_type": "binary_classifier", "mini_batch_size": "32", "epochs": "3"},
        {"predictor_type": "regressor", "mini_batch_size": "50", "epochs": "2", "optimizer": "sgd",
         "learning_rate": "0.01"},
        {"predictor_type": "multiclass_classifier", "num_classes": "3", "mini_batch_size": "40",
         "epochs": "2", "num_models": "3"},
    ],
    "xgboost": [
        {"objective": "binary:logistic", "num_round": "4", "subsample": "0.8"},
        {"num_round": "3", "booster": "dart", "rate_drop": "0.5", "colsample_bynode": "0.6"},
        {"objective": "multi:softprob", "num_class": "3", "num_round": "2",
         "num_parallel_tree": "2"},
        {"booster": "gblinear", "num_round": "3"},
    ],
}  # fmt: skip
MISSING = {"thresholded-randomcutforest", "xgboost"}  # to which NaN is a value that is missing
# What is learnt depends on the rows' order, and halves are numbered alike here.
ORDERED = {("knn", 3), ("randomcutforest", 0), ("randomcutforest", 1)}
CASES = [(name, i) for name in sorted(MODULES) for i in range(len(RUNS[name]))]


def data(name, run, n=300, d=5, seed=0):
    rng = np.random.default_rng(seed)
    X = (rng.standard_normal((n, d)) * [1, 10, 0.1, 1, 1] + [0, 5, 0, 0, 100]).astype(np.float32)
    if run.get("algorithm_mode") == "randomized":  # which needs many features to differ
        X = np.hstack([X, 1e-3 * rng.standard_normal((n, 120), np.float32)])
    kind = run.get("predictor_type", "")
    kind = "multiclass_classifier" if "num_class" in run else kind
    score = X[:, :d] @ rng.standard_normal(d)
    y = {"regressor": score, "multiclass_classifier": np.argsort(np.argsort(score)) * 3 // n}
    labels = y.get(kind, score > np.median(score)).astype(np.float32)
    return Block.of(X, labels)


def fresh(name, run, block, channels=("train",), rows=None):
    a = algorithm(name)
    return a.state(a.parameters.parse(run), Spec.of(block, rows=rows, channels=frozenset(channels)))


def learnt(name, run, stream, block, validation=None, **options):
    channels = {"train": stream}
    if validation is not None:
        channels["validation"] = Arrays(validation)
    state = fresh(name, run, block, channels)
    train(state, channels, **options)
    return state


def saved(model, folder, name="m.safetensors"):
    model.save(folder / name)
    return (folder / name).read_bytes()


class Cut(Stream):
    """A stream with cuts of its own."""

    def __init__(self, block, cuts):
        super().__init__()
        self.block, self.cuts = block, sorted({0, len(block), *cuts})

    def open(self, order=None, *, limited=False, rows=None):
        for a, b in zip(self.cuts[:-1], self.cuts[1:], strict=True):
            yield self.block[a:b]

    def where(self, row):
        return f"row {row}"

    def fingerprint(self):
        return "cut"


@pytest.mark.parametrize(("name", "i"), CASES)
def test_the_sources_cuts_change_no_byte(name, i, tmp_path):
    run = RUNS[name][i]
    block = data(name, run)
    want = saved(learnt(name, run, Arrays(block), block).model(), tmp_path)

    @settings(max_examples=8, deadline=None)
    @given(st.lists(st.integers(1, 299), max_size=12))
    def check(cuts):
        assert saved(learnt(name, run, Cut(block, cuts), block).model(), tmp_path) == want

    check()


@pytest.mark.parametrize(("name", "i"), CASES)
def test_threads_change_no_byte(name, i, tmp_path):
    run = RUNS[name][i]
    block = data(name, run, n=9000)
    files = {
        saved(learnt(name, run, Arrays(block), block, n_jobs=n).model(), tmp_path)
        for n in (1, 2, 5)
    }
    assert len(files) == 1


@pytest.mark.parametrize(("name", "i"), CASES)
@pytest.mark.parametrize("validated", [False, True])
def test_resuming_behind_any_checkpoint_changes_no_byte(name, i, validated, tmp_path):
    """Training is left behind every checkpoint in turn, and resumed by a fresh state."""
    run = RUNS[name][i]
    block, held = data(name, run), data(name, run, n=120, seed=1)
    if validated and "[validation]" not in algorithm(name).channels:
        return
    validation = held if validated else None
    want = saved(learnt(name, run, Arrays(block), block, validation).model(), tmp_path)
    for behind in range(1, 60):
        path = tmp_path / f"checkpoint-{behind}"

        class Once(Checkpoint):
            """Stops behind one checkpoint, as a kill would."""

            def offer(self, state, *, force=False, behind=behind):
                super().offer(state, force=force)
                if self._count == behind:
                    raise KeyboardInterrupt

        try:
            learnt(name, run, Arrays(block), block, validation, checkpoint=Once(path, blocks=1))
        except KeyboardInterrupt:
            again = learnt(
                name, run, Arrays(block), block, validation,
                checkpoint=Checkpoint(path, blocks=1),
            )  # fmt: skip
            assert saved(again.model(), tmp_path) == want, behind
        else:
            assert behind > 2
            return
    raise AssertionError("training never ended")


@pytest.mark.parametrize(("name", "i"), CASES)
def test_a_state_survives_a_copy_in_the_middle(name, i, tmp_path):
    """copy.deepcopy and joblib carry fields; what is left goes on to the same bytes."""
    run = RUNS[name][i]
    block = data(name, run)
    want = saved(learnt(name, run, Arrays(block), block).model(), tmp_path)
    state, channels = fresh(name, run, block), {"train": Arrays(block)}
    p = state.next_pass()
    while p is not None:
        state = copy.deepcopy(state)
        while (p := state.next_pass()) is not None:
            run_pass(state, p, channels)
            end_pass(state, p)
            if not p.hold:  # what is held stays behind
                break
    assert saved(state.finish(), tmp_path) == want


@pytest.mark.parametrize(("name", "i"), CASES)
def test_merging_halves(name, i):
    """Exact merges equal one state over all rows up to rounding; statistical ones come near."""
    run = RUNS[name][i]
    block = data(name, run, n=2000)
    whole = learnt(name, run, Arrays(block), block)
    if whole.merging == "none" or (name, i) in ORDERED:
        return
    base = fresh(name, run, block)
    while not (p := base.next_pass()).epoch:  # preparing passes run once, on one worker
        run_pass(base, p, {"train": Arrays(block)})
        end_pass(base, p)
    a, b = copy.deepcopy(base), copy.deepcopy(base)
    for part, rows in ((a, block[:1000]), (b, block[1000:])):
        run_pass(part, part.next_pass(), {"train": Arrays(rows.at(0))})
    rows = a.seen + b.seen - base.seen
    a.merge(b, base)
    end_pass(a, a.next_pass())
    assert a.seen == rows > 1900
    got, want = a.finish(), whole.model()
    outputs, wanted = got.predict(block), want.predict(block)
    for field, values in wanted.items():
        if whole.merging == "exact":
            np.testing.assert_allclose(outputs[field], values, rtol=1e-3, atol=1e-3)
        else:
            assert np.isfinite(np.asarray(outputs[field], float)).all()


@pytest.mark.parametrize(("name", "i"), CASES)
def test_saved_and_loaded(name, i, tmp_path):
    run = RUNS[name][i]
    block = data(name, run)
    model = learnt(name, run, Arrays(block), block).model()
    first = saved(model, tmp_path)
    again = load_model(tmp_path / "m.safetensors")
    for field, values in model.predict(block).items():
        assert np.array_equal(again.predict(block)[field], values), field
    assert saved(again, tmp_path) == first
    assert again.width == block.features.shape[1]


@pytest.mark.parametrize(("name", "i"), CASES)
def test_prediction_does_not_depend_on_the_cut(name, i):
    run = RUNS[name][i]
    block = data(name, run)
    model = learnt(name, run, Arrays(block), block).model()
    whole = model.predict(block)
    parts = [model.predict(block[a : a + 7]) for a in range(0, len(block), 7)]
    for field, values in whole.items():
        assert np.array_equal(np.concatenate([p[field] for p in parts]), values), field


@pytest.mark.parametrize(("name", "i"), CASES)
def test_sparse_rows_give_nearly_the_same_model(name, i):
    run = RUNS[name][i]
    block = data(name, run)
    sparse = block.replace(features=Csr.of(block.features))
    dense = learnt(name, run, Arrays(block), block).model()
    model = learnt(name, run, Arrays(sparse), sparse).model()
    score = algorithm(name).fields[0]
    want = dense.predict(block)[score]
    for rows in (block, sparse):
        np.testing.assert_allclose(
            model.predict(rows)[score], want, rtol=0.02, atol=0.02 * np.abs(want).max()
        )


@pytest.mark.parametrize(("name", "i"), CASES)
def test_bad_rows_are_named(name, i):
    run = RUNS[name][i]
    for value in (np.inf,) if name in MISSING else (np.nan, np.inf):
        block = data(name, run)
        block.features[123, 4] = value
        with pytest.raises(UserError, match="123"):
            learnt(name, run, Arrays(block), block)
        block = block.replace(features=Csr.of(block.features))
        with pytest.raises(UserError, match="123"):
            learnt(name, run, Arrays(block), block)


@pytest.mark.parametrize(("name", "i"), CASES)
def test_nothing_learnt_is_not_ready(name, i):
    run = RUNS[name][i]
    with pytest.raises(NotReady):
        fresh(name, run, data(name, run)).finish()
    block = data(name, run)
    with pytest.raises(UserError, match="no rows"):
        learnt(name, run, Cut(block[:0], []), block)

"""K-Nearest Neighbors: the sample, the space, the index, the answers, the model's file."""

import copy

import numpy as np
import pytest

from smalgos.algorithms import load_model
from smalgos.algorithms.knn import ALGORITHM
from smalgos.algorithms.knn.space import Space, centre_of
from smalgos.errors import NotReady, UserError
from smalgos.formats.block import Block, Csr
from smalgos.formats.channel import Arrays
from smalgos.kernels import load
from smalgos.learning import Spec, files
from smalgos.learning.train import end_pass, run_pass, train
from tests.reference import neighbours as reference

K = load("neighbours", "cpu")
N, D = 1200, 12
LISTS = {"index_type": "faiss.IVFFlat"}
CODED = {"index_type": "faiss.IVFPQ", "faiss_index_pq_m": "4"}


def rows(n=N, d=D, seed=0, offset=0.0):
    rng = np.random.default_rng(seed)
    X = (rng.standard_normal((n, d)) + offset).astype(np.float32)
    return Block.of(X, np.floor(2 * X[:, 0] - 2 * offset).astype(np.float32))


def parsed(**given):
    plain = {"k": "5", "predictor_type": "classifier", "sample_size": str(N)}
    return ALGORITHM.parameters.parse(plain | given)


def fresh(block, **given):
    return ALGORITHM.state(parsed(**given), Spec.of(block, rows=len(block)))


def learnt(block, **given):
    state = fresh(block, **given)
    train(state, {"train": Arrays(block)})
    return state


def exact(X, P, k, metric="l2"):
    """(numbers, values) of the nearest points."""
    found = [reference.best(reference.far(x, P, metric), np.arange(len(P)), k) for x in X]
    values, numbers = zip(*found, strict=True)
    return np.array(numbers), np.array(values)


# The sample ---------------------------------------------------------------------------------------


def test_the_sample_is_drawn_by_number_and_seed():
    block = rows()
    model = learnt(block, sample_size="100").model()
    assert len(model.rows) == 100
    assert (np.diff(model.rows) > 0).all()
    np.testing.assert_array_equal(model.points, block.features[model.rows])
    np.testing.assert_array_equal(model.labels, block.labels[model.rows])
    spec = Spec.of(block, seed=1)
    other = ALGORITHM.state(parsed(sample_size="100"), spec)
    train(other, {"train": Arrays(block)})
    assert not np.array_equal(other.model().rows, model.rows)


@pytest.mark.parametrize("given", [{}, LISTS, CODED])
@pytest.mark.parametrize("sample_size", ["150", "100000"])
def test_halves_merge_to_the_bytes_of_the_whole(given, sample_size, tmp_path):
    block = rows()
    whole = learnt(block, sample_size=sample_size, **given)
    base = fresh(block, sample_size=sample_size, **given)
    a, b = copy.deepcopy(base), copy.deepcopy(base)
    p = a.next_pass()
    a.update(block[:500])
    b.update(block[500:])
    a.seen, b.seen = 500, N - 500
    b.merge(a, base)
    end_pass(b, p)
    while (p := b.next_pass()) is not None:
        run_pass(b, p, {})
        end_pass(b, p)
    whole.model().save(tmp_path / "whole")
    b.model().save(tmp_path / "merged")
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "merged").read_bytes()


def test_rows_in_portions_are_rows_at_once(tmp_path):
    block = rows()
    for given in ({}, CODED):
        whole = learnt(block, sample_size="300", **given)
        parts = fresh(block, sample_size="300", **given)
        for part in (block[:400], block[400:450], block[450:]):
            parts.again()
            train(parts, {"train": Arrays(part.at(0))})
            parts.model()
        whole.model().save(tmp_path / "whole")
        parts.model().save(tmp_path / "parts")
        assert (tmp_path / "whole").read_bytes() == (tmp_path / "parts").read_bytes()


def test_a_model_before_the_index_searches_exactly():
    block = rows()
    state = fresh(block, **CODED)
    run_pass(state, p := state.next_pass(), {"train": Arrays(block)})
    end_pass(state, p)
    numbers, _ = state.finish().search(block.features[:20])
    assert np.array_equal(numbers, exact(block.features[:20], block.features, 5)[0])


# Answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.0, 5000.0])
@pytest.mark.parametrize("given", [{}, LISTS | {"nprobe": "1000"}])
def test_exact_neighbours(offset, given):
    block = rows(offset=offset)
    asked = rows(80, seed=1, offset=offset).features
    numbers, values = learnt(block, **given).model().search(asked)
    want, far = exact(asked, block.features, 5)
    assert (numbers == want).mean() > 0.999
    np.testing.assert_allclose(values, far, rtol=1e-5)


@pytest.mark.parametrize("given", [{}, LISTS | {"nprobe": "1000"}])
@pytest.mark.parametrize("metric", ["COSINE", "INNER_PRODUCT"])
def test_products(metric, given):
    block = rows()
    numbers, values = (
        learnt(block, index_metric=metric, **given).model().search(block.features[:50])
    )
    P = block.features.astype(np.float64)
    if metric == "COSINE":
        P = P / np.linalg.norm(P, axis=1, keepdims=True)
    want, far = exact(P[:50], P, 5, "ip")
    assert (numbers == want).mean() > 0.999
    np.testing.assert_allclose(values, -far, rtol=1e-5)


def test_lists_and_codes_find_most():
    block, asked = rows(4000), rows(200, seed=1).features
    truth = exact(asked, block.features, 10)[0]

    def recall(**given):
        model = learnt(block, sample_size="4000", k="10", **given).model()
        found = model.search(asked)[0]
        return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, truth, strict=True)])

    few, more = recall(**LISTS, nprobe="3"), recall(**LISTS, nprobe="20")
    assert 0.4 < few < more > 0.85
    assert recall(**CODED, nprobe="63") > 0.35
    assert recall(**CODED | {"faiss_index_pq_m": "12"}, nprobe="63") > 0.9


def test_votes_and_ties():
    X = np.arange(6, dtype=np.float32)[:, None]
    block = Block.of(X, np.array([7, 3, 3, 7, 9, 9], np.float32))
    model = learnt(block, k="4").model()
    said = model.predict(Block.of(np.array([[1.4]], np.float32)), verbose=True)
    assert said["predicted_label"].tolist() == [3.0]  # two of 3, two of 7
    assert said["labels"].tolist() == [[3.0, 3.0, 7.0, 7.0]]
    np.testing.assert_allclose(said["distances"], [[0.16, 0.36, 1.96, 2.56]], rtol=1e-5)
    regressor = learnt(block, k="4", predictor_type="regressor").model()
    assert regressor.predict(Block.of(X[:1]))["predicted_label"].tolist() == [5.0]
    weighted = learnt(block, k="3", predictor_type="regressor", weights="distance").model()
    assert weighted.predict(Block.of(X))["predicted_label"].tolist() == block.labels.tolist()
    (said,) = weighted.predict(Block.of(np.array([[0.25]], np.float32)))["predicted_label"]
    w = 1 / np.array([0.25, 0.75, 1.75])
    assert said == pytest.approx((w * [7, 3, 3]).sum() / w.sum())
    assert list(model.predict(Block.of(X))) == ["predicted_label"]


def test_other_k_at_asking():
    block = rows()
    model = learnt(block).model()
    assert model.search(block.features[:3], k=9)[0].shape == (3, 9)
    assert model.search(block.features[:0])[0].shape == (0, 5)
    with pytest.raises(UserError, match="n_samples_fit = 1200"):
        model.search(block.features, k=1201)
    with pytest.raises(UserError, match="rows of 11 features"):
        model.search(block.features[:, 1:])


@pytest.mark.parametrize("kind", ["sign", "fjlt"])
def test_projected_rows(kind):
    block = rows(d=40)
    model = learnt(
        block, dimension_reduction_type=kind, dimension_reduction_target="24", **CODED
    ).model()
    assert model.centre.shape == (24,)
    assert model.width == 40
    sparse = block.replace(features=Csr.of(block.features))
    want = model.predict(block[:50], verbose=True)
    for field, values in model.predict(sparse[:50], verbose=True).items():
        np.testing.assert_allclose(values, want[field], rtol=1e-3, atol=1e-3)


def test_padding_and_raised_targets():
    assert Space.of(parsed(**CODED), 10, 0).size == 12
    given = CODED | {"dimension_reduction_type": "sign", "dimension_reduction_target": "9"}
    assert Space.of(parsed(**given), 10, 0).size == 12
    block = rows(d=10)
    model = learnt(block, **CODED).model()
    assert model.codebooks.shape == (4, 256, 3)
    assert learnt(block[:60], **CODED).model().codebooks.shape == (4, 60, 3)


def test_the_centre_keeps_whole_numbers_whole():
    rng = np.random.default_rng(0)
    X = np.stack([rng.integers(2000, 3000, 500), rng.integers(0, 9, 500), np.full(500, 7.25)], 1)
    centre = centre_of(X.astype(np.float32), K)
    assert centre[0] == round(centre[0])
    assert abs(centre[0] - 2500) < 200
    assert centre[1:].tolist() == [0, 7.25]


# What cannot be -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "match"), [
    ({"dimension_reduction_type": "sign"}, "give dimension_reduction_target"),
    ({"dimension_reduction_target": "3"}, "give dimension_reduction_type"),
    ({"sample_size": "4"}, "at least k=5"),
    ({"index_type": "faiss.IVFPQ"}, "give faiss_index_pq_m"),
    (CODED | {"index_metric": "COSINE"}, "must be L2"),
    ({"weights": "distance", "index_metric": "INNER_PRODUCT"}, "no distance"),
    ({"index_type": "faiss.HNSW"}, "one of faiss.Flat"),
    ({"k": "0"}, "k='?0"),
])  # fmt: skip
def test_hyperparameters_that_do_not_fit_each_other(given, match):
    with pytest.raises(UserError, match=match):
        parsed(**given)


@pytest.mark.parametrize(("given", "match"), [
    ({"dimension_reduction_type": "sign", "dimension_reduction_target": "12"}, "below the 12"),
    (CODED | {"faiss_index_pq_m": "13"}, "rows have 12 features"),
    (LISTS | {"faiss_index_ivf_nlists": "51"}, "has only 50 rows"),
    ({"k": "51"}, "n_samples = 50"),
])  # fmt: skip
def test_hyperparameters_that_do_not_fit_the_rows(given, match):
    with pytest.raises(UserError, match=match):
        learnt(rows(50), **given).model()


@pytest.mark.parametrize(("label", "kind"), [(0.5, "classifier"), (np.nan, "classifier"),
                                             (np.inf, "regressor")])  # fmt: skip
def test_labels_of_no_use(label, kind):
    block = rows()
    block.labels[321] = label
    with pytest.raises(UserError, match="321"):
        learnt(block, predictor_type=kind)
    with pytest.raises(UserError, match="no labels"):
        learnt(Block.of(block.features))


def test_equal_rows():
    block = Block.of(np.ones((300, 4), np.float32), np.zeros(300, np.float32))
    for given in ({}, LISTS, CODED):
        numbers, values = learnt(block, **given).model().search(block.features[:3])
        assert (np.sort(numbers) == numbers).all()
        np.testing.assert_allclose(values, 0, atol=1e-6)
    assert isinstance(learnt(block).model().check(), type(None))
    with pytest.raises(NotReady):
        fresh(block).finish()


# Files --------------------------------------------------------------------------------------------

SPOILT = {
    "labels": lambda a: a["labels"][:-1],
    "centre": lambda a: a["centre"][:-1],
    "order": lambda a: np.zeros_like(a["order"]),
    "offsets": lambda a: a["offsets"][::-1].copy(),
    "centroids": lambda a: a["centroids"][:-1],
    "codes": lambda a: a["codes"][:, :-1].copy(),
    "codebooks": lambda a: a["codebooks"][:, :9].copy(),
}


@pytest.mark.parametrize("field", SPOILT)
def test_damaged_files_are_refused(field, tmp_path):
    learnt(rows(), **CODED).model().save(tmp_path / "m")
    arrays, meta = files.read(tmp_path / "m")
    arrays[field] = SPOILT[field](arrays)
    files.write(tmp_path / "m", arrays, meta)
    with pytest.raises(UserError, match="m: "):
        load_model(tmp_path / "m")


@pytest.mark.parametrize(("name", "value"), [
    ("neighbours", 0), ("neighbours", 10**6), ("nprobe", 1.5), ("metric", "L1"), ("seed", -1),
    ("input_dim", 5), ("predictor_type", "ranker"), ("weights", ""), ("reduction", "pca"),
])  # fmt: skip
def test_damaged_numbers_are_refused(name, value, tmp_path):
    learnt(rows()).model().save(tmp_path / "m")
    arrays, meta = files.read(tmp_path / "m")
    meta["scalars"][name] = value
    files.write(tmp_path / "m", arrays, meta)
    with pytest.raises(UserError, match="m: "):
        load_model(tmp_path / "m")

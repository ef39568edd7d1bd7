"""What fuzzing has found, in its shortest form."""

import io

import numpy as np
import pytest

import smalgos
from smalgos.errors import UserError
from smalgos.formats import csv, protobuf
from smalgos.formats.recordio import frame
from smalgos.learning import files
from smalgos.learning.train import Checkpoint
from tests.reference.protobuf import message, varint

# --- CSV


def test_encodings_that_refuse_text_outright():
    """Their decoders raise errors whatever they are told to do about errors."""
    for encoding in ("utf-16", "utf-32"):  # without a byte-order mark
        with pytest.raises(UserError, match=rf"^train\.csv, row 1 is not .* {encoding!r}"):
            list(csv.read_blocks(io.BytesIO(b"1,2\n3,4\n"), "train.csv", encoding=encoding))
    for encoding in ("idna", "undefined"):
        with pytest.raises(UserError, match="use utf-8"):
            csv.read_blocks(io.BytesIO(b"1,2\n3,4\n"), "train.csv", encoding=encoding)


@pytest.mark.parametrize("cell", [".nan", "-.inf", ".Infinity"])
def test_a_dot_before_a_word_is_no_number(cell):
    with pytest.raises(UserError, match=r"row 1, column 2.*is not a number"):
        list(csv.read_blocks(io.BytesIO(f"1,{cell}\n".encode()), "train.csv"))


# --- RecordIO


def test_keys_of_one_and_of_two_bytes_in_one_record():
    keys = message(2, varint(2) + varint(300) + varint(7))
    value = message(2, message(1, np.float32([1, 2, 3]).tobytes()) + keys + message(3, varint(400)))
    record = message(1, message(1, b"values") + message(2, value))
    (block,) = protobuf.read_blocks(io.BytesIO(frame(record)), "f")
    assert block.features.indices.tolist() == [2, 300, 7]


def test_field_number_0_is_refused_inside_of_groups_too():
    """The library passes over it there."""
    group = bytes.fromhex("c33e 05 00000000 c43e")  # 1000 begins, 0 as fixed32, 1000 ends
    tensor = message(7, message(1, varint(5)) + group)
    record = message(1, message(1, b"values") + message(2, tensor))
    with pytest.raises(UserError, match=r"record 0, byte .*: a field number or wire type"):
        list(protobuf.read_blocks(io.BytesIO(frame(record)), "f"))


# --- model files: the seal is right, what is in it is not

X = np.random.default_rng(0).normal(size=(16, 2)).astype(np.float32)
Y = np.arange(16) % 2


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Arrays and header of models with their training states."""
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    made = {}
    once = dict(num_models=2, epochs=1, mini_batch_size=4)
    for name, estimator in {
        "linear-learner": smalgos.LinearLearnerClassifier(**once).fit(X, Y),
        "pca": smalgos.PCA(num_components=2).fit(X),
    }.items():
        estimator.save(path, state=True)
        made[name] = path.read_bytes()
    return made


def load(data, folder, change):
    """The estimator of a file after a change to its arrays and header."""
    arrays, meta = files.decode(data, "file")
    change(arrays, meta)
    path = folder / "changed.safetensors"
    files.write(path, arrays, meta)
    return smalgos.load(path)


def put(where, value):
    """A change: of what is at a path in the header, or of an array of the state."""

    def change(arrays, meta):
        if "/" not in where and where not in meta:
            arrays[state_array(arrays, where)] = value
            return
        *path, last = where.split("/")
        for key in path:
            meta = meta[key]
        meta[last] = value

    return change


def state_array(arrays, end):
    """The name of the one array of the state whose name ends so."""
    (name,) = (n for n in arrays if n.startswith("") and n.endswith(f".{end}"))
    return name


def test_what_is_kept_is_what_comes_back(trained, tmp_path):
    for data in trained.values():
        estimator = load(data, tmp_path, lambda arrays, meta: None)
        estimator.partial_fit(X, Y)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("algorithm", "logistic"),
        ("algorithm", ["pca"]),
        ("scalars/threshold", 10**400),
        ("notes/hyperparameters", 0.5),
        ("notes/hyperparameters", {"learning_rate": 10**400}),
        ("notes/hyperparameters", {"epochs": "many"}),
        ("notes/classes", 0),
        ("notes/classes", ["no"]),
        ("notes/classes", [[1], [1, 2]]),
        ("notes/classes", ["no", 1]),
        ("notes/feature_names", "ab"),
        ("notes/feature_names", ["a", "a"]),
        ("state", []),
        ("state/parameters", None),
        ("state/parameters/num_models", 10_000),  # which would be much larger than the file
        ("state/scalars/step", "0"),
        ("state/scalars/step", 10**30),
        ("state/scalars/row", -1),
        ("state/scalars/best_model", 2),
        ("state/scalars/phase", "x"),
        ("state/scalars/more", 1),
        ("state/scalars/stopping.best", None),
        ("state/spec", {}),
        ("state/spec/rows", -1),
        ("state/spec/channels", 3),
        ("state/spec/columns", {}),
        ("state/spec/columns/features", ["dense", "float32"]),
        ("state/spec/columns/features", ["dense", "float32", 3]),
        ("state/spec/columns/features", ["dense", "object", 2]),
        ("state/spec/columns/features", ["dense", 10**30, 2]),
        ("slots.w", np.zeros((1, 1, 1, 1), np.float32)),  # kernels wrote beyond it
        ("slots.w", np.zeros(4, np.float16)),
        ("weights.w", np.zeros((1, 3, 16))),
        ("best.w", np.zeros((9, 1), np.float32)),
        ("scaler.origin", np.zeros(2)),
        ("scaler.std", np.zeros(2, np.float32)),
        ("scaler.class_counts", np.array([-1, 2])),
        ("loss_curve", np.zeros((1, 3))),
        ("scores", np.zeros(1)),
    ],
)
def test_a_linear_learner_that_does_not_fit_together(where, value, trained, tmp_path):
    with pytest.raises(UserError, match=r"changed\.safetensors: "):
        load(trained["linear-learner"], tmp_path, put(where, value))


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("shift", np.zeros(3, np.float32)),
        ("gram", np.zeros((2, 3))),
        ("total", np.zeros(2, np.float32)),
    ],
)
def test_a_pca_that_does_not_fit_together(where, value, trained, tmp_path):
    with pytest.raises(UserError, match=r"changed\.safetensors: "):
        load(trained["pca"], tmp_path, put(where, value))


def test_models_without_features_or_outputs(trained, tmp_path):
    none = np.empty((2, 0), np.float32)

    def no_components(arrays, meta):
        arrays.update(v=none, s=np.empty(0))

    def no_features(arrays, meta):
        arrays.update(v=none.T, mean=none[0])

    def no_coefficients(arrays, meta):
        arrays.update(coef=np.empty((0, 1), np.float32), shift=none[0])

    for name, change in (
        ("pca", no_components),
        ("pca", no_features),
        ("linear-learner", no_coefficients),
    ):
        with pytest.raises(UserError, match=r"changed\.safetensors: it has no "):
            load(trained[name], tmp_path, change)


def test_a_field_that_is_not_there(trained, tmp_path):
    for name in ("slots.w", "scaler.std", "loss_sum"):
        with pytest.raises(UserError, match=name.replace(".", "|")):
            load(
                trained["linear-learner"],
                tmp_path,
                lambda arrays, meta, name=name: arrays.pop(state_array(arrays, name)),
            )


def test_a_checkpoint_that_does_not_fit(tmp_path):
    estimator = smalgos.PCA(num_components=2).fit(X)
    checkpoint = Checkpoint(tmp_path / "checkpoint")
    checkpoint.offer(estimator.state_, force=True)
    assert checkpoint.resume(estimator.state_)
    arrays, meta = files.read(checkpoint.path)
    for changed, scalars in (
        (arrays | {"gram": np.zeros((1, 1))}, meta["scalars"]),
        (arrays, meta["scalars"] | {"seen": "many"}),
        (arrays, None),
    ):
        files.write(checkpoint.path, changed, meta | {"scalars": scalars})
        with pytest.raises(UserError, match=r"checkpoint cannot be used: .*remove it"):
            checkpoint.resume(estimator.state_)


# --- beside the readers


def test_integers_beyond_64_bits():
    with pytest.raises(UserError, match="lr_scheduler_step=1000"):
        smalgos.LinearLearnerRegressor(lr_scheduler_step=10**30).fit(X, Y)


def test_squares_beyond_float32():
    with pytest.raises(UserError, match="algorithm_mode=stable"):
        smalgos.PCA().fit(X * np.float32(1e20))
    fitted = smalgos.PCA(algorithm_mode="stable").fit(X * np.float32(1e20))
    assert np.isfinite(fitted.components_).all()

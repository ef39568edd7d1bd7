"""A job executed in Python, as the command line does it."""

import numpy as np
import pytest

from smalgos.algorithms import load_model
from smalgos.container.job import ChannelConfig, Job, execute
from smalgos.errors import UserError
from tests.container.box import numbers, records, table

BINARY = {"predictor_type": "binary_classifier", "epochs": "2", "mini_batch_size": "50"}


def rows(n, seed=0):
    features, score = numbers(n, seed=seed)
    return features, (score > 0).astype(np.float32)


@pytest.fixture
def job(tmp_path):
    def make(hyperparameters=BINARY, **files):
        channels = {}
        for name, content in files.items():
            suffix = "csv" if isinstance(content, str) else "pbr"
            path = tmp_path / f"{name}.{suffix}"
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            channels[name] = ChannelConfig(path)
        return Job("linear-learner", hyperparameters, channels, tmp_path / "deep" / "model")

    return make


def test_file_names_tell_the_content_type(job):
    events = []

    def report(event, **facts):
        events.append(event)
        assert "state" in facts

    outcome = execute(
        job(train=records(*rows(400)), validation=table(*rows(100, 1)), test=table(*rows(80, 2))),
        report=report,
    )
    assert outcome.why == "done"
    assert outcome.path is not None
    assert outcome.path.name == "model.safetensors"
    assert list(outcome.scores) == ["validation", "test"]
    objective = "binary_classification_cross_entropy_objective"
    assert next(iter(outcome.scores["test"])) == objective
    curve = outcome.state.validation_curve[outcome.state.stopping.at, outcome.model.notes["model"]]
    assert outcome.scores["validation"][objective] == pytest.approx(curve, rel=1e-5)
    features = rows(100, 1)[0]
    np.testing.assert_array_equal(
        load_model(outcome.path).margins(features), outcome.model.margins(features)
    )
    assert [e for e in events if e != "batch"] == [
        "begin", "pass", *["pass", "pass"] * 2, "stop", "scoring", "score", "score", "scored",
        "saved",
    ]  # fmt: skip


def test_train_is_scored_where_nothing_else_is(job):
    assert list(execute(job(train=records(*rows(400)))).scores) == ["train"]


@pytest.mark.parametrize("loss", ["logistic", "hinge_loss"])
def test_the_final_objective_is_the_mean_loss(job, loss):
    given = BINARY | {"loss": loss, "num_models": "1", "epochs": "1"}
    train, validation = rows(400), rows(333, 1)
    outcome = execute(job(given, train=records(*train), validation=records(*validation)))
    raw, y = outcome.model.margins(validation[0])[:, 0].astype(float), validation[1]
    sign = np.where(y == 1, 1, -1)
    value = np.log1p(np.exp(-sign * raw)) if loss == "logistic" else None
    if value is None:  # label 1 wants a score of 1, label 0 one of 0: margin 1 about a half
        value = np.maximum(0, np.where(y == 1, 1 - raw, raw))
    told = next(iter(outcome.scores["validation"].values()))
    assert told == pytest.approx(value.mean(), rel=1e-4)


def test_stopped_behind_a_block_it_saves_without_scores(job):
    asked = []

    def stop():
        asked.append(1)
        return len(asked) > 3

    outcome = execute(job(train=records(*rows(400)), test=records(*rows(80))), stop=stop)
    assert (outcome.why, outcome.scores) == ("stopped", {})
    assert load_model(outcome.path).notes["epochs"] in (1, 2)


def test_stopped_before_anything_is_learnt_there_is_no_model(job):
    outcome = execute(job(train=records(*rows(400))), stop=lambda: True)
    assert (outcome.model, outcome.path, outcome.why) == (None, None, "stopped")


def test_a_model_of_another_algorithm_is_refused(job, tmp_path):
    pca = Job(
        "pca", {"num_components": "2"}, job(train=records(*rows(400))).channels, tmp_path / "pca"
    )
    path = execute(pca).path
    later = job(train=records(*rows(400)))
    channels = {**later.channels, "model": ChannelConfig(path)}
    with pytest.raises(UserError, match=r"holds a pca model; linear-learner cannot go on from it"):
        execute(Job("linear-learner", BINARY, channels, tmp_path / "model"))


def test_a_file_that_is_not_there_names_its_channel(tmp_path):
    channels = {"train": ChannelConfig(tmp_path / "none.csv")}
    with pytest.raises(UserError, match=r"train channel: .*none\.csv: no such file"):
        execute(Job("linear-learner", BINARY, channels, tmp_path / "model"))


def test_libsvm_is_counted_as_train_is(tmp_path):
    features, labels = rows(200)
    features[:, [0, -1]] = 0

    def text(first, n):
        lines = [
            " ".join([str(int(y)), *(f"{i + first}:{v:.8g}" for i, v in enumerate(x) if v)])
            for x, y in zip(features[:n], labels[:n], strict=True)
        ]
        return "\n".join(lines) + "\n"

    def train(content, **types):
        paths = {name: tmp_path / f"{name}.svm" for name in ("train", "validation")}
        paths["train"].write_text(content)
        paths["validation"].write_text("1 1:0.5\n0 2:1\n")  # fewer columns, and none called 0
        channels = {n: ChannelConfig(p, types.get("content_type")) for n, p in paths.items()}
        return execute(Job("linear-learner", BINARY, channels, tmp_path / "model")).model

    width = features.shape[1]
    model = train(text(0, 100) + f"0 0:0 {width - 1}:0\n")
    assert model.width == width
    assert "libsvm_base" not in model.notes
    model = train(text(1, 100) + f"0 1:0 {width}:0\n")
    assert model.width == width
    assert load_model(tmp_path / "model" / "model.safetensors").reading == {
        "width": width, "base": 1,
    }  # fmt: skip
    model = train(text(1, 100), content_type=f"text/libsvm; base=1; width={width + 3}")
    assert model.reading == {"width": width + 3, "base": 1}
    with pytest.raises(UserError, match=r"validation channel.*index 1 is beyond the 1 columns"):
        train("1 0:1\n0 0:2\n")
    with pytest.raises(UserError, match=r"train.svm, row 2, byte 3: 'x:1' is not"):
        train("1 0:1 2:1\n0 x:1\n")

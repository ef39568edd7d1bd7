"""BlazingText in the container: log lines, files, requests, bad input."""

import json
import re

import numpy as np
import pytest

from smalgos.algorithms import load_model
from smalgos.container.own_lines import BlazingTextLines
from smalgos.serving.invoke import Refused, invoke, warm_up
from tests.container.box import Box

PREFIX = r"\[\d\d/\d\d/\d{4} \d\d:\d\d:\d\d (INFO|WARNING|ERROR) \d+\] "
TEXT = "text/plain"
JSON, LINES = "application/json", "application/jsonlines"
NUMBER = r"\d+\.\d+"


def sentences(n=300, seed=0, labels=False):
    rng = np.random.default_rng(seed)
    kinds = [["red", "green", "blue", "pink"], ["one", "two", "three", "four"]]
    rows = [" ".join([*rng.choice(kinds[i % 2], 6), "and"]) for i in range(n)]
    told = ("__label__colour ", "__label__number ") if labels else ("", "")
    return "".join(f"{told[i % 2]}{row}\n" for i, row in enumerate(rows))


@pytest.fixture
def box(tmp_path, monkeypatch):
    monkeypatch.setattr(BlazingTextLines, "EVERY", 1e9)
    return Box(tmp_path / "ml", "blazingtext")


CLASSIFIER = {
    "mode": "supervised", "vector_dim": "6", "buckets": "999", "learning_rate": "0.5",
    "min_count": "1",
}  # fmt: skip
WORDS = {"mode": "skipgram", "vector_dim": "6", "min_count": "2", "buckets": "999"}


def test_lines_of_a_classifier(box, monkeypatch, capsys):
    box.channel("train", {"t.train": sentences(labels=True)}, TEXT)
    box.channel("validation", {"t.validation": sentences(60, 1, labels=True)}, TEXT)
    out = box.trained(
        monkeypatch, capsys, **CLASSIFIER, early_stopping="True", epochs="20", min_epochs="3",
        patience="2", window_size="3",
    )  # fmt: skip
    data = box.base / "input" / "data"
    look = [
        r"-------------- End of epoch: \d+",
        r"Using \d+ threads for prediction!",
        r"Validation accuracy: \d\.\d{6}",
        r"Validation accuracy (improved! Storing best weights\.\.\.|has not improved for last \d "
        r"epochs\.)",
    ]
    looks = len(re.findall(look[0], out))
    assert looks >= 3
    expected = [
        PREFIX + r"smalgos container train, base directory \S+",
        PREFIX + r"nvidia-smi took: \S+ secs to identify 0 gpus",
        PREFIX + r"Running single machine CPU BlazingText training using supervised mode\.",
        PREFIX + rf"Processing {data}/train/t\.train \. File size: 0 MB",
        PREFIX + rf"Processing {data}/validation/t\.validation \. File size: 0 MB",
        PREFIX + r"window_size is given, but mode=supervised does not use it\.",
        r"Read 0M words",
        r"Number of words:  10",
        rf"Loading validation data from {data}/validation/t\.validation",
        r"Loaded validation data\.",
        *look * looks,
        rf"##### Alpha: {NUMBER}  Progress: {NUMBER}%  Million Words/sec: {NUMBER} #####",
        r"Training finished\.",
        rf"Average throughput in Million words/sec: {NUMBER}",
        rf"Total training time in seconds: {NUMBER}",
        r"",
        r"#train_accuracy: (\d\.\d{4})",
        r"Number of train examples: 300",
        r"#validation_accuracy: (\d\.\d{4})",
        r"Number of validation examples: 60",
    ]
    assert re.fullmatch("".join(f"{e}\n" for e in expected), out), out
    for metric in ("train_accuracy", "validation_accuracy"):  # the platform's own patterns
        assert float(re.search(rf"#{metric}: (\S+)", out)[1]) > 0.9
    assert box.leftovers() == ["model.bin"]


def test_lines_of_word_vectors(box, monkeypatch, capsys):
    pairs = "red\tblue\t9\nred\tone\t1\none\ttwo\t8\nred\tnone\t2\n"
    box.channel("train", {"text": sentences()}, TEXT)
    box.channel("evaluation", {"pairs.txt": pairs})
    out = box.trained(monkeypatch, capsys, **WORDS, epochs="9")
    told = json.loads((box.base / "model" / "eval.json").read_text())
    data, shown = box.base / "input" / "data", re.escape(json.dumps(told, indent=4, sort_keys=True))
    expected = [
        PREFIX + r"smalgos container train, base directory \S+",
        PREFIX + r"nvidia-smi took: \S+ secs to identify 0 gpus",
        PREFIX + r"Running single machine CPU BlazingText training using skipgram mode\.",
        PREFIX + rf"Processing {data}/train/text \. File size: 0 MB",
        PREFIX + r"buckets is given, but mode=skipgram does not use it\.",
        r"Read 0M words",
        r"Number of words:  10",
        rf"Alpha: {NUMBER}  Progress: 100\.00%  Million Words/sec: {NUMBER}",
        r"Training finished!",
        rf"Average throughput in Million words/sec: {NUMBER}",
        rf"Total training time in seconds: {NUMBER}",
        r"Evaluating word embeddings\.\.\.\.",
        rf"Vectors read from: {box.base}/model/vectors\.txt ",
        shown,
        PREFIX + r"#mean_rho: \S+",
    ]
    assert re.fullmatch("".join(f"{e}\n" for e in expected), out), out
    assert float(re.search(r"#mean_rho: (\S+)", out)[1]) == told["mean_rho"]
    assert told["pairs.txt"].keys() == {"not_found", "spearmans_rho", "total_pairs"}
    assert told["pairs.txt"]["not_found"] == 1
    assert box.leftovers() == ["eval.json", "vectors.bin", "vectors.txt"]
    first = (box.base / "model" / "vectors.txt").read_text().splitlines()
    assert first[0] == "10 6"
    assert len(first) == 11


def test_nothing_to_evaluate_with(box, monkeypatch, capsys):
    box.channel("train", {"text": sentences()}, TEXT)
    monkeypatch.delenv("SMALGOS_WORD_SIMILARITY", raising=False)
    out = box.trained(monkeypatch, capsys, **WORDS)
    assert "no sets of word similarities" in out
    assert "#mean_rho" not in out
    assert box.leftovers() == ["vectors.bin", "vectors.txt"]
    out = box.trained(monkeypatch, capsys, **WORDS, evaluation="False")
    assert "no sets" not in out


def test_an_earlier_model(box, monkeypatch, capsys, tmp_path):
    box.channel("train", {"text": sentences(labels=True)}, TEXT)
    box.trained(monkeypatch, capsys, **CLASSIFIER)
    for name in ("model.safetensors", "model.bin"):
        earlier = (box.base / "model" / name).read_bytes()
        again = Box(tmp_path / name, "blazingtext")
        again.channel("train", {"text": "__label__new red violet\n" * 9}, TEXT)
        again.channel("model", {name: earlier})
        again.trained(monkeypatch, capsys, **CLASSIFIER, epochs="30")
        model = load_model(again.model)
        assert {"violet", "one"} <= set(model.words.words)
        assert set(model.labels) == {"__label__colour", "__label__number", "__label__new"}


def test_an_augmented_manifest_in_pipe_mode(box, monkeypatch, capsys):
    rows = [line.split(" ", 1) for line in sentences(labels=True).splitlines()]
    number = {"__label__colour": 1, "__label__number": [2, 7]}
    manifest = "".join(
        json.dumps({"source": text, "label": number[label]}) + "\n" for label, text in rows
    )
    box.channel("train", None, LINES, "Pipe")
    box.feed("train", manifest.encode(), range(4))
    out = box.trained(monkeypatch, capsys, **CLASSIFIER)
    assert "#train_accuracy: 1.0000" in out
    assert set(load_model(box.model).labels) == {f"__label__{i}" for i in (1, 2, 7)}


@pytest.mark.parametrize(
    ("given", "text", "said"),
    [
        ({}, "a b\n", "hyperparameter mode is required"),
        (WORDS | {"windowsize": "3"}, "a b\n", "unknown hyperparameter 'windowsize'"),
        (WORDS | {"window_size": "0"}, "a b\n", "window_size=0"),
        (WORDS | {"mode": "batch_skipgram", "subwords": "True"}, "a b\n", "subwords=True"),
        (WORDS, "a b\n", "min_count"),
        (CLASSIFIER, "a b\n", "__label__"),
        (CLASSIFIER | {"early_stopping": "True"}, sentences(labels=True), "no validation channel"),
        (CLASSIFIER, "", "train channel"),
        (CLASSIFIER | {"learning_rate": "1e30"}, sentences(labels=True), "learning rate"),
    ],
)
def test_faults_of_the_user(box, monkeypatch, capsys, given, text, said):
    box.hyperparameters(**given)
    box.channel("train", {"text": text}, TEXT)
    assert said in box.failed(monkeypatch, capsys)


def test_bad_sets_of_pairs(box, monkeypatch, capsys):
    box.hyperparameters(**WORDS)
    box.channel("train", {"text": sentences()}, TEXT)
    box.channel("evaluation", {"pairs.txt": "red blue\n\nred blue 9\n"})
    assert "pairs.txt, row 3" in box.failed(monkeypatch, capsys)


def test_requests_of_a_classifier(box, monkeypatch, capsys):
    box.channel("train", {"text": sentences(labels=True)}, TEXT)
    box.trained(monkeypatch, capsys, **CLASSIFIER)
    for file in ("model.safetensors", "model.bin"):
        model = load_model(box.base / "model" / file)
        assert warm_up(model)
        asked = {"instances": ["red blue", "one two\nthree"], "configuration": {"k": 2}}
        reply = invoke(model, json.dumps(asked).encode(), JSON, JSON)
        told = json.loads(reply.body)
        assert (reply.status, reply.type) == (200, JSON)
        assert [row["label"][0] for row in told] == ["__label__colour", "__label__number"]
        assert [len(row["prob"]) for row in told] == [2, 2]
        told = json.loads(invoke(model, b'{"instances": ["red"]}', JSON, "").body)
        assert told[0].keys() == {"label", "prob"}
        assert told[0]["label"] == ["__label__colour"]
        lines = b'{"source": "red"}\n{"source": "one", "k": 2}\n'
        reply = invoke(model, lines, LINES, JSON)
        assert reply.type == LINES
        told = [json.loads(line) for line in reply.body.splitlines()]
        assert [len(row["label"]) for row in told] == [1, 2]
        for bad, kind in (
            (b"{}", JSON), (b'{"instances": "red"}', JSON), (b'{"instances": [1]}', JSON),
            (b'{"instances": ["a"], "configuration": {"k": 0}}', JSON),
            (b'{"instances": ["a"], "configuration": {"k": "x"}}', JSON), (b"red", JSON),
            (b'{"text": "red"}\n', LINES),
        ):  # fmt: skip
            with pytest.raises(Refused) as refused:
                invoke(model, bad, kind, kind)
            assert 400 <= refused.value.status < 500, bad


def test_requests_of_word_vectors(box, monkeypatch, capsys):
    box.channel("train", {"text": sentences()}, TEXT)
    for subwords in ("False", "True"):
        box.trained(monkeypatch, capsys, **WORDS, subwords=subwords, evaluation="False")
        for file in ("model.safetensors", "vectors.bin"):
            model = load_model(box.base / "model" / file)
            reply = invoke(model, b'{"instances": ["red", "redder"]}', JSON, JSON)
            told = json.loads(reply.body)
            assert [row["word"] for row in told] == ["red", "redder"]
            assert [len(row["vector"]) for row in told] == [6, 6]
            assert any(told[1]["vector"]) == (subwords == "True")
            reply = invoke(model, b'{"source": "red"}\n', LINES, LINES)
            assert json.loads(reply.body)["word"] == "red"

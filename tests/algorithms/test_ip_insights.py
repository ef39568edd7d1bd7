"""IP Insights: what every algorithm must hold, over rows of texts, and what it must learn."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalgos.algorithms import algorithm, load_model
from smalgos.errors import NotReady, UserError
from smalgos.formats.block import Block, Ragged
from smalgos.formats.channel import Arrays
from smalgos.learning import Spec, files
from smalgos.learning.train import Checkpoint, end_pass, run_pass, train
from tests.algorithms.test_shared import Cut, saved
from tests.reference.ip_insights import xxhash64

RUNS = [
    {"mini_batch_size": "32", "epochs": "2", "random_negative_sampling_rate": "3"},
    {"mini_batch_size": "1000", "epochs": "3", "num_ip_encoder_layers": "0",
     "shuffled_negative_sampling_rate": "0", "weight_decay": "0.01"},
    {"mini_batch_size": "50", "epochs": "2", "num_ip_encoder_layers": "2", "vector_dim": "20",
     "random_negative_sampling_rate": "0", "shuffled_negative_sampling_rate": "2"},
]  # fmt: skip
SMALL = {"num_entity_vectors": "30", "vector_dim": "8", "learning_rate": "0.02"}
CASES = pytest.mark.parametrize("run", [SMALL | run for run in RUNS])


def texts(values):
    return Ragged.of([list(v.encode()) for v in values], np.uint8)


def data(n=300, seed=0, users=12):
    """Each user is at home in a /16; a few addresses are of IPv6."""
    rng = np.random.default_rng(seed)
    who = rng.integers(users, size=n)
    low = rng.integers(256, size=(n, 2))
    where = [f"{10 + u}.{7 * u % 256}.{a}.{b}" for u, (a, b) in zip(who, low, strict=True)]
    where[5::50] = [
        f"2001:db8:{u:x}::{a:x}" for u, a in zip(who[5::50], low[5::50, 0], strict=True)
    ]
    return Block({"entity": texts([f"user_{u}" for u in who]), "ip": texts(where)})


def fresh(run, block, channels=("train",), **more):
    a = algorithm("ipinsights")
    spec = Spec.of(block, channels=frozenset(channels), **more)
    return a.state(a.parameters.parse(run), spec)


def learnt(run, stream, block, validation=None, **options):
    channels = {"train": stream}
    if validation is not None:
        channels["validation"] = Arrays(validation)
    state = fresh(run, block, channels)
    train(state, channels, **options)
    return state


@CASES
def test_the_sources_cuts_change_no_byte(run, tmp_path):
    block = data()
    want = saved(learnt(run, Arrays(block), block).model(), tmp_path)

    @settings(max_examples=5, deadline=None)
    @given(st.lists(st.integers(1, 299), max_size=12))
    def check(cuts):
        assert saved(learnt(run, Cut(block, cuts), block).model(), tmp_path) == want

    check()


@CASES
def test_threads_change_no_byte(run, tmp_path):
    block = data(3000)
    states = [learnt(run, Arrays(block), block, n_jobs=n) for n in (1, 2, 5)]
    assert len({saved(state.model(), tmp_path) for state in states}) == 1


@pytest.mark.parametrize(("run", "validated"), [(SMALL | run, i > 0) for i, run in enumerate(RUNS)])
def test_resuming_behind_any_checkpoint_changes_no_byte(run, validated, tmp_path, monkeypatch):
    monkeypatch.setattr("smalgos.algorithms.ip_insights.state.PAIRS", 800)  # many short blocks
    block, validation = data(), data(120, seed=1) if validated else None
    want = saved(learnt(run, Arrays(block), block, validation).model(), tmp_path)
    for behind in range(1, 60):
        path = tmp_path / f"checkpoint-{behind}"

        class Once(Checkpoint):
            """Stops behind one checkpoint, as a kill would."""

            def offer(self, state, *, force=False, behind=behind):
                super().offer(state, force=force)
                if self._count == behind:
                    raise KeyboardInterrupt

        try:
            learnt(run, Arrays(block), block, validation, checkpoint=Once(path, blocks=1))
        except KeyboardInterrupt:
            again = learnt(
                run, Arrays(block), block, validation, checkpoint=Checkpoint(path, blocks=1)
            )
            assert saved(again.model(), tmp_path) == want, behind
        else:
            assert behind > 2
            return
    raise AssertionError("training never ended")


@CASES
def test_a_state_survives_a_copy_in_the_middle(run, tmp_path):
    block = data()
    want = saved(learnt(run, Arrays(block), block).model(), tmp_path)
    state, channels = fresh(run, block), {"train": Arrays(block)}
    while (p := state.next_pass()) is not None:
        state = copy.deepcopy(state)
        p = state.next_pass()
        run_pass(state, p, channels)
        end_pass(state, p)
    assert saved(state.finish(), tmp_path) == want


@CASES
def test_merging_halves(run):
    block = data(2000)
    base = fresh(run, block)
    a, b = copy.deepcopy(base), copy.deepcopy(base)
    for part, rows in ((a, block[:1000]), (b, block[1000:])):
        run_pass(part, part.next_pass(), {"train": Arrays(rows.at(0))})
    rows = a.seen + b.seen
    a.merge(b, base)
    end_pass(a, a.next_pass())
    assert a.seen == rows == 2000
    model = a.finish()
    assert np.isfinite(model.predict(block)["dot_product"]).all()
    assert model.knows(block["entity"]).all()
    run_pass(a, fresh(run, block).next_pass(), {"train": Arrays(block)})  # and it goes on


@CASES
def test_saved_and_loaded(run, tmp_path):
    block = data()
    model = learnt(run, Arrays(block), block).model()
    first = saved(model, tmp_path)
    again = load_model(tmp_path / "m.safetensors")
    for field, values in model.predict(block, verbose=True).items():
        assert np.array_equal(again.predict(block, verbose=True)[field], values), field
    assert saved(again, tmp_path) == first


@CASES
def test_prediction_does_not_depend_on_the_cut(run):
    block = data()
    model = learnt(run, Arrays(block), block).model()
    whole = model.predict(block, verbose=True)
    parts = [model.predict(block[a : a + 7], verbose=True) for a in range(0, len(block), 7)]
    for field, values in whole.items():
        assert np.array_equal(np.concatenate([p[field] for p in parts]), values), field


def test_bad_rows_are_named():
    block = data()
    values = [block["ip"].row(i).tobytes().decode() for i in range(300)]
    values[123] = "10.0.0"
    bad = block.replace(ip=texts(values))
    with pytest.raises(UserError, match=r"row 123 .*'10\.0\.0' is no address"):
        learnt(SMALL, Arrays(bad), bad)
    with pytest.raises(UserError, match=r"validation channel, .*123"):
        learnt(SMALL, Arrays(block), block, bad)


def test_nothing_learnt_is_not_ready():
    with pytest.raises(NotReady):
        fresh(SMALL, data()).finish()
    block = data()
    with pytest.raises(UserError, match="no rows"):
        learnt(SMALL, Cut(block[:0], []), block)


# What it learns ---------------------------------------------------------------------------------


def test_users_are_told_from_random_addresses_and_from_each_other():
    block, held = data(3000), data(500, seed=1)
    run = SMALL | {"epochs": "6", "mini_batch_size": "100", "random_negative_sampling_rate": "2"}
    state = learnt(run, Arrays(block), block, held)
    auc = np.array(state.model().notes["auc_curve"])
    assert auc[-1] > 0.99
    scores = state.model().predict(held)["dot_product"]
    others = Block({"entity": held["entity"][np.arange(500)[::-1]], "ip": held["ip"]})
    assert (scores > 0).mean() > 0.95
    assert np.median(state.model().predict(others)["dot_product"]) < -2


def test_validation_pairs_are_the_same_in_every_epoch():
    block, held = data(), data(500, seed=1)
    state = learnt(SMALL | {"learning_rate": "0.000001"}, Arrays(block), block, held)
    auc = np.array(state.model().notes["auc_curve"])
    assert np.ptp(auc) < 0.01


def test_one_row_for_all_entities():
    block = data()
    model = learnt(SMALL | {"num_entity_vectors": "1"}, Arrays(block), block).model()
    assert len(model.entities) == 1
    assert np.isfinite(model.predict(block)["dot_product"]).all()


def test_entities_may_be_empty_and_of_any_script():
    names = ["", "ω", "用户", "a,b", "user 1"] * 10
    block = Block({"entity": texts(names), "ip": texts(["192.0.2.1"] * 50)})
    model = learnt(SMALL, Arrays(block), block).model()
    rows, _ = model.rows_of(texts(names[:5]))
    assert rows.tolist() == [xxhash64(name.encode()) % 30 for name in names[:5]]


def test_what_was_seen_is_known_again():
    block = data(users=200, n=3000)
    state = learnt(SMALL | {"num_entity_vectors": "400"}, Arrays(block), block)
    model = state.model()
    assert model.knows(block["entity"]).all()
    strangers = texts([f"stranger {i}" for i in range(4000)])
    assert 0.02 < model.knows(strangers).mean() < 0.12  # 200 of 3200 bits are set


def test_an_address_mapped_into_ipv6_is_the_same():
    block = data()
    model = learnt(SMALL, Arrays(block), block).model()
    vectors = model.ip_vectors(texts(["192.0.2.33", "::ffff:192.0.2.33", "::ffff:c000:221"]))
    np.testing.assert_array_equal(vectors[0], vectors[1])
    np.testing.assert_array_equal(vectors[0], vectors[2])


def test_training_that_diverges_says_so():
    block = data()
    state = fresh(SMALL, block)
    for table in state.tables.values():
        table[:] = 3e38
    with pytest.raises(UserError, match=r"diverged in epoch 0: .*lower learning_rate"):
        train(state, {"train": Arrays(block)})


# Files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("entities", np.zeros((0, 8), np.float32)),
        ("entities", np.zeros((30, 8))),
        ("entities", np.full((30, 8), np.nan, np.float32)),
        ("prefixes", np.zeros((5, 8), np.float32)),
        ("layers", np.zeros((2, 8, 8), np.float32)),
        ("biases", np.zeros((1, 9), np.float32)),
        ("marks", np.zeros(29, np.uint8)),
        ("marks", np.zeros(30, np.int64)),
    ],
)
def test_damaged_models_are_refused(name, value, tmp_path):
    block = data()
    learnt(SMALL, Arrays(block), block).model().save(tmp_path / "m")
    arrays, meta = files.read(tmp_path / "m")
    files.write(tmp_path / "m", arrays | {name: value}, meta)
    with pytest.raises(UserError, match=name if name != "layers" else "layers|biases"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize(
    ("name", "value"), [("hash", "md5"), ("hash_seed", -1), ("hash_seed", 0.5), ("offset", "x")]
)
def test_damaged_scalars_are_refused(name, value, tmp_path):
    block = data()
    learnt(SMALL, Arrays(block), block).model().save(tmp_path / "m")
    arrays, meta = files.read(tmp_path / "m")
    meta["scalars"][name] = value
    files.write(tmp_path / "m", arrays, meta)
    with pytest.raises(UserError, match=name):
        load_model(tmp_path / "m")


def test_a_state_that_a_file_does_not_hold_is_not_made_room_for(tmp_path):
    import smalgos

    pairs = [("a", "192.0.2.1"), ("b", "192.0.2.2")] * 20
    given = {"num_entity_vectors": 30, "vector_dim": 8, "mini_batch_size": 10, "epochs": 1}
    smalgos.IPInsights(**given).fit(pairs).save(tmp_path / "m", state=True)
    arrays, meta = files.read(tmp_path / "m")
    for name, value in (("num_entity_vectors", 200_000_000), ("num_ip_encoder_layers", 100)):
        told = copy.deepcopy(meta)
        told["state"]["parameters"][name] = value
        files.write(tmp_path / "m", arrays, told)
        with pytest.raises(UserError, match="does not hold"):
            smalgos.load(tmp_path / "m")

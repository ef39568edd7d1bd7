"""The harness finds what it is there to find."""

import base64
import itertools
import random
import signal
import subprocess
import sys

import numpy as np
import pytest

from smalgos.formats import csv, json_document, jsonlines, protobuf
from smalgos.formats.block import Block
from tests.conftest import ROOT
from tests.fuzz import properties
from tests.fuzz.fence import Fence
from tests.fuzz.launch import launch
from tests.fuzz.mutants import GENERATORS
from tests.fuzz.seeds import SEEDS, model


def dies_of(code):
    """The signal that ends a process that runs the code."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    return -done.returncode


@pytest.mark.parametrize("shape", [1, 7, (3, 5), 4096, 5000, 0])
def test_nothing_behind_a_fenced_array_can_be_touched(shape):
    array = Fence().empty(shape, np.uint8)
    assert array.shape == np.empty(shape).shape
    array[...] = 1
    assert array.flags.c_contiguous
    assert array.flags.writeable
    code = "import ctypes; from tests.fuzz.fence import Fence; a = Fence().empty({}, 'u1'); {}"
    read = "ctypes.string_at(a.ctypes.data + a.size, 1)"
    assert dies_of(code.format(shape, "")) == 0
    assert dies_of(code.format(shape, read)) == signal.SIGSEGV


def test_fenced_arrays_that_are_in_use_are_apart():
    fence = Fence()
    arrays = [fence.empty((3, 3), np.float32) for _ in range(100)]
    for i, array in enumerate(arrays):
        array[:] = i
    assert [int(a.sum()) for a in arrays] == [9 * i for i in range(100)]
    assert fence.allocated == 100 * 36


@pytest.mark.parametrize("reader", GENERATORS)
def test_a_seed_says_all_of_a_run(reader):
    once, again = (list(itertools.islice(GENERATORS[reader](random.Random(7)), 300)) for _ in "ab")
    assert once == again
    assert len(set(once)) > 200


@pytest.mark.compiled
@pytest.mark.parametrize("reader", SEEDS)
def test_seeds_are_what_they_should_be(reader):
    accepted = sum(properties.PROPERTIES[reader](data) for data in SEEDS[reader]())
    assert accepted > 0


def test_sealing():
    for data in model()[1:]:
        sealed = properties.seal(data)
        assert properties.unsealed(sealed) == data
        assert sealed != data


def good(reader):
    """An input that is accepted."""
    rows = b'{"features": [1, 2]}', b'{"features": [3, 4]}'
    return {
        "recordio": SEEDS["recordio"]()[0],
        "csv": b"\x011,2\n3,4\n",
        "jsonlines": b"\0" + b"\n".join(rows),
        "json": b'\0{"instances": [%b, %b]}' % rows,
    }[reader]


MODULES = [
    ("recordio", protobuf), ("csv", csv), ("jsonlines", jsonlines), ("json", json_document),
]  # fmt: skip


@pytest.mark.parametrize(("reader", "module"), MODULES)
@pytest.mark.parametrize(
    "wrong",
    [
        lambda block: block.replace(labels=np.ones(len(block), np.float32)),
        lambda block: block.replace(features=block.features + 1),
        lambda block: block.replace(features=block.features[:, :-1]),
        lambda block: block[1:].at(0),
        lambda block: Block(block.columns, block.start + 1),
    ],
)
def test_wrong_rows_are_found(reader, module, wrong, monkeypatch):
    read = module.read_blocks
    properties.PROPERTIES[reader](good(reader))
    monkeypatch.setattr(module, "read_blocks", lambda *a, **o: map(wrong, read(*a, **o)))
    with pytest.raises(AssertionError):
        properties.PROPERTIES[reader](good(reader))


@pytest.mark.parametrize(("reader", "module"), MODULES)
def test_greed_is_found(reader, module, monkeypatch):
    read = module.read_blocks

    def greedy(*arguments, **options):
        assert len(bytes(50 << 20))
        return read(*arguments, **options)

    monkeypatch.setattr(module, "read_blocks", greedy)
    with pytest.raises(AssertionError, match="bytes for an input of"):
        properties.PROPERTIES[reader](good(reader))


def test_a_death_is_told_with_its_input(tmp_path):
    """The worker here dies of its third input."""
    deadly = tmp_path / "deadly.py"
    deadly.write_text(
        "import os\n"
        "from tests.fuzz import mutants, properties\n"
        "survived = []\n"
        "def check(data):\n"
        "    survived.append(data) if len(survived) < 2 else os.abort()\n"
        "    return True\n"
        "properties.PROPERTIES['lines'] = check\n"
        "mutants.seeds.SEEDS['lines'] = list\n"
        "mutants.main()\n"
    )
    note = tmp_path / "finding.note"
    arguments = deadly, "lines", "--runs", 9, "--seed", 5, "--note", note
    with pytest.raises(pytest.fail.Exception) as failure:
        launch(*arguments, findings=note, PYTHONPATH=str(ROOT))
    third = next(itertools.islice(GENERATORS["lines"](random.Random(5)), 2, None))
    for told in ("SIGABRT", "--seed 5", base64.b64encode(third).decode()):
        assert told in str(failure.value)


def test_a_wrong_answer_is_told_with_its_input(tmp_path):
    note = tmp_path / "finding.note"
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "from tests.fuzz import judge, mutants\n"
        "good = judge._assert_numbers\n"
        "put_up_fence = mutants.put_up_fence\n"
        "def spoil():\n"
        "    judge._assert_numbers = lambda got, want: good(got, want + 1)\n"
        "    return put_up_fence()\n"
        "mutants.put_up_fence = spoil\n"
        "mutants.main()\n"
    )
    arguments = wrong, "lines", "--runs", 99, "--note", note
    with pytest.raises(pytest.fail.Exception, match=r"(?s)AssertionError.*base64: \w"):
        launch(*arguments, findings=note, PYTHONPATH=str(ROOT))

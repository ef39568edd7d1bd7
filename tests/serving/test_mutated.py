"""Bodies that are wrong on purpose: refused with a reason, never an error of ours."""

import asyncio
import io
import random
import resource
import warnings

import numpy as np
import pytest

from smalgos.errors import UserError
from smalgos.formats.block import Block, Csr
from smalgos.formats.content_type import RECORDIO, reader, types, writer
from smalgos.formats.recordio import MAGIC_BYTES, frame
from smalgos.serving.app import application
from smalgos.serving.settings import Settings
from tests.fuzz.spoil import pick, spoil
from tests.serving.client import acall
from tests.serving.conftest import D

ROWS = np.random.default_rng(7).normal(size=(3, D)).round(3).astype(np.float32)
WORDS = [bytes([n]) for n in range(256)] + [
    b",", b"\n", b"\r\n", b'"', b"nan", b"1e39", b"inf", b"{", b"}", b"[", b"]", b":", b"null",
    b'"features"', b'"values"', b'"keys"', b'"shape"', b'"data"', b"0:", b"1:1", b"-1:1",
    b"99999999999", b"\xff\xff\xff\xff", MAGIC_BYTES, b"\xef\xbb\xbf", b"\x00",
]  # fmt: skip
LONG = 64 << 10  # rarely, as much of one word


def seeds():
    """{content type: bodies that can be read}"""
    found = {}
    for content_type in types():
        write, bodies = writer(content_type, label_size=0), []
        for block in (Block.of(ROWS), Block.of(ROWS[:1]), Block({"features": Csr.of(ROWS)})):
            try:
                bodies.append(write(block))
            except UserError:
                continue
        found[content_type] = bodies
    size = int.from_bytes(found[RECORDIO][1][4:8], "little")
    found[RECORDIO].append(found[RECORDIO][1][8 : 8 + size])  # without its frame
    return found


def rows_of(content_type, body):
    """How many rows the reader finds, all as wide as the model; None where it refuses."""
    if content_type == RECORDIO and not body.startswith(MAGIC_BYTES):
        body = frame(body)
    n = 0
    try:
        for block in reader(content_type, label_size=0, width=D)(io.BytesIO(body), "body"):
            if block.features.shape[1] != D:
                return None
            n += len(block)
    except UserError:
        return None
    return n


async def ask(app, bodies, rng, n):
    """Ask n spoilt bodies; how many were answered, and the peak of memory after a half of them."""
    answered, half = 0, 0
    accepts = ["application/json", "application/jsonlines", "text/csv", RECORDIO]
    for i in range(n):
        content_type = pick(rng, list(bodies))
        body = spoil(rng, pick(rng, bodies[content_type]), pick(rng, bodies[content_type]), WORDS)
        if rng.random() < 0.01:
            word = pick(rng, WORDS)
            body += word * (LONG // len(word))
        headers = {"content-type": content_type, "accept": "application/jsonlines"}
        if rng.random() < 0.5:
            headers["accept"] = pick(rng, accepts)
        answer = await acall(app, "POST", "/invocations", body, headers)
        at = f"{i}: {content_type}: {body[:200]!r}: {answer}"
        assert answer.status in ((200, 400, 413) if body else (204,)), at
        if answer.status == 200:
            rows = rows_of(content_type, body)
            assert rows, at
            if answer.type == "application/jsonlines":
                assert answer.body.count(b"\n") == rows, at
            answered += 1
        else:
            assert b"\n" not in answer.body, at
        if i == n // 2:
            half = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return answered, half


@pytest.mark.parametrize("n", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_mutated_bodies(models, n):
    bodies = seeds()
    app = application(models["multiclass"], Settings(None))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of numbers beyond float32
        answered, half = asyncio.run(ask(app, bodies, random.Random(n), n))
    assert n // 20 < answered < n
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - half
    assert grown < 64 << 10  # KiB: memory stays flat

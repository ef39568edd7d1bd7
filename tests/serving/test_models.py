"""A multi-model endpoint, called without a socket."""

import asyncio
import json
import threading

import pytest

from smalgos.serving import app as serving
from smalgos.serving import models as registry
from smalgos.serving.app import application
from smalgos.serving.settings import Settings
from tests.serving.client import acall, call

CSV = {"content-type": "text/csv"}
ROW = b"1,2,3,4\n"


@pytest.fixture
def app():
    return application(None, Settings(None))


def load(app, name, url):
    return call(app, "POST", "/models", json.dumps({"model_name": name, "url": str(url)}).encode())


def test_life_of_a_model(app, folder, models):
    url = str(folder / "pca")
    assert call(app, "GET", "/ping").status == 200
    assert json.loads(call(app, "GET", "/models").body) == {"models": []}
    assert call(app, "POST", "/models/m/invoke", ROW, CSV).status == 404
    assert load(app, "m", url).status == 200
    assert load(app, "m", url).status == 409
    told = {"modelName": "m", "modelUrl": url}
    assert json.loads(call(app, "GET", "/models").body) == {"models": [told]}
    assert json.loads(call(app, "GET", "/models/m").body) == told
    answer = call(app, "POST", "/models/m/invoke", ROW, CSV)
    alone = call(application(models["pca"], Settings(None)), "POST", "/invocations", ROW, CSV)
    assert answer == alone
    assert call(app, "POST", "/models/m/invoke", b"1,2", CSV).status == 400
    assert call(app, "DELETE", "/models/m").status == 200
    assert call(app, "DELETE", "/models/m").status == 404
    assert call(app, "GET", "/models/m").status == 404
    assert load(app, "m", folder / "binary" / "model.safetensors").status == 200


def test_pages(app, folder, monkeypatch):
    monkeypatch.setattr(registry, "PAGE", 2)
    for name in "edcba":
        assert load(app, name, folder / "pca").status == 200
    names, token = [], ""
    for _ in range(3):
        page = json.loads(call(app, "GET", f"/models?next_page_token={token}").body)
        names.append([m["modelName"] for m in page["models"]])
        token = page.get("nextPageToken", "")
    assert names == [["a", "b"], ["c", "d"], ["e"]]
    assert not token


NO_DESCRIPTIONS = (
    b"", b"no json", b"[]", b'"text"', b"{}", b'{"model_name": "m"}', b"[" * 100_000,
    b'{"model_name": 1, "url": "x"}', b'{"model_name": "", "url": "x"}',
)  # fmt: skip


@pytest.mark.parametrize("body", NO_DESCRIPTIONS)
def test_bad_descriptions(app, body):
    assert call(app, "POST", "/models", body).status == 400


def test_files_that_are_no_models(app, tmp_path):
    assert load(app, "m", tmp_path / "nothing").status == 400
    (tmp_path / "model.safetensors").write_bytes(b"no model")
    answer = load(app, "m", tmp_path)
    assert answer.status == 400
    assert b"model.safetensors" in answer.body
    assert load(app, "m", "a\0b").status == 400
    assert json.loads(call(app, "GET", "/models").body) == {"models": []}


def test_no_memory(app, folder, monkeypatch):
    monkeypatch.setattr(registry, "free_memory", lambda: 10)
    assert load(app, "m", folder / "pca").status == 507
    monkeypatch.setattr(registry, "free_memory", lambda: None)

    def load_model(path):
        raise MemoryError

    monkeypatch.setattr(registry, "load_model", load_model)
    assert load(app, "m", folder / "pca").status == 507


def test_memory_that_is_left():
    free = registry.free_memory()
    assert free is None or free > 1 << 20


def test_clients_name_models(app, folder):
    path = "/endpoints/e/invocations"
    assert load(app, "m", folder / "pca").status == 200
    named = CSV | {"x-amzn-sagemaker-target-model": "m"}
    assert call(app, "POST", path, ROW, named).status == 200
    unknown = call(app, "POST", path, ROW, CSV | {"x-amzn-sagemaker-target-model": "n"})
    assert (unknown.status, json.loads(unknown.body)["OriginalStatusCode"]) == (424, 404)
    nobody = call(app, "POST", path, ROW, CSV)
    assert (nobody.status, nobody.headers["x-amzn-errortype"]) == (400, "ValidationError")
    assert call(app, "POST", "/invocations", ROW, CSV).status == 404


def test_a_name_is_taken_while_its_model_is_loaded(app, folder, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()
    plain = registry.load_model

    def slow(path):
        begun.set()
        go_on.wait(10)
        return plain(path)

    monkeypatch.setattr(registry, "load_model", slow)
    body = json.dumps({"model_name": "m", "url": str(folder / "pca")}).encode()

    async def both():
        first = asyncio.create_task(acall(app, "POST", "/models", body))
        while not begun.is_set():
            await asyncio.sleep(0.01)
        second = await acall(app, "POST", "/models", body)
        ping = await acall(app, "GET", "/ping")
        go_on.set()
        return (await first).status, second.status, ping.status

    assert asyncio.run(both()) == (200, 409, 200)


def test_a_model_is_not_unloaded_while_it_answers(app, folder, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()
    plain = serving.invoke

    def slow(*args, **kwargs):
        begun.set()
        go_on.wait(10)
        return plain(*args, **kwargs)

    monkeypatch.setattr(serving, "SHORT", 0)
    monkeypatch.setattr(serving, "invoke", slow)
    assert load(app, "m", folder / "pca").status == 200

    async def both():
        request = asyncio.create_task(acall(app, "POST", "/models/m/invoke", ROW, CSV))
        while not begun.is_set():
            await asyncio.sleep(0.01)
        unload = asyncio.create_task(acall(app, "DELETE", "/models/m"))
        await asyncio.sleep(0.1)
        waiting = not unload.done()
        gone = await acall(app, "GET", "/models/m")
        go_on.set()
        return waiting, gone.status, (await request).status, (await unload).status

    assert asyncio.run(both()) == (True, 404, 200, 200)

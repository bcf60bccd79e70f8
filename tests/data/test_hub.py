"""Fetching models from a local server that speaks as the hub does."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support import warm
from support.paths import TINY_LLAVA
from support.servers import Faults, HubHandler, serving
from vlmflow import load_model
from vlmflow.errors import ModelError
from vlmflow.models.hub import fetched_files
from vlmflow.models.hub_cache import files_of, forget_if_gone

REVISION = "ab" * 20
FETCH = (
    "import json, sys; from vlmflow.data.fetch.hub import HubError; from vlmflow.models.hub import fetch_model\n"
    "try: print(json.dumps(fetch_model(sys.argv[1], sys.argv[2])))\n"
    "except HubError as error: print(error); sys.exit(3)"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("served"), HubHandler) as server:
        yield server


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """One folder of the hub's cache for all tests, so that one warm process serves them."""
    return tmp_path_factory.mktemp("home") / "cache"


@pytest.fixture
def hub(server, cache):
    shutil.rmtree(cache, ignore_errors=True)
    shutil.rmtree(server.folder)
    server.faults, server.cache = Faults(), cache
    server.requests.clear()
    folder = server.folder / "owner" / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "modeling.py").write_text("raise SystemExit")
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    (folder / "model.safetensors").write_bytes(b"w" * 50_000)
    return server


def fetch(hub, tmp_path, repository="owner/model", revision=REVISION):
    # The hub's address is read when its library is imported.
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(hub.cache), "HF_HUB_OFFLINE": "0"}
    script = tmp_path / "fetch.py"
    script.write_text(FETCH)
    command = [warm.python(environment), script, repository, revision]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_weights_and_data_are_fetched_and_no_code(hub, tmp_path):
    done = fetch(hub, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    account = json.loads(done.stdout)
    assert account["bytes"] == 50_000
    assert sorted(path.name for path in Path(account["folder"]).iterdir()) == ["config.json", "model.safetensors"]
    assert REVISION in account["folder"]
    hub.requests.clear()
    assert json.loads(fetch(hub, tmp_path).stdout) == account
    assert not [path for method, path, _ in hub.requests if method == "GET" and "/resolve/" in path]


def test_a_broken_download_is_resumed(hub, tmp_path):
    size = 24 * 2**20
    (hub.folder / "owner/model/model.safetensors").write_bytes(b"w" * size)
    hub.faults.cut, hub.faults.cut_from = 1, size - 1
    done = fetch(hub, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["bytes"] == size
    asked = [place for method, path, place in hub.requests if method == "GET" and path.endswith(".safetensors")]
    assert len(asked) == 2
    resumed = int(asked[1].removeprefix("bytes=").rstrip("-"))
    assert 0 < resumed <= size / 2


def test_models_that_cannot_be_fetched_are_refused(hub, tmp_path):
    weights = hub.folder / "owner/model/model.safetensors"
    weights.unlink()
    done = fetch(hub, tmp_path)
    assert done.returncode == 3
    assert "model.safetensors is missing" in done.stdout
    assert "only models with safetensors weights are loaded" in done.stdout
    (hub.folder / "owner/model/model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}})
    )
    (hub.folder / "owner/model/model-1.safetensors").write_bytes(b"w")
    done = fetch(hub, tmp_path, revision="cd" * 20)
    assert done.returncode == 3
    assert "model-2.safetensors is missing" in done.stdout
    done = fetch(hub, tmp_path, repository="owner/none")
    assert done.returncode == 3
    assert "owner/none at" in done.stdout


LOCATE = (
    "import sys; from vlmflow.data.fetch.hub import HubError; from vlmflow.models.hub import model_folder\n"
    "try: print(model_folder('owner/model', sys.argv[1]))\n"
    "except HubError as error: print(error); sys.exit(3)"
)


def locate(note, home):
    environment = os.environ | {"HF_HOME": str(home)}
    command = [sys.executable, "-c", LOCATE, str(note)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_cache_that_was_brought_from_elsewhere_is_found(hub, tmp_path):
    note = tmp_path / "note.json"
    note.write_text(fetch(hub, tmp_path).stdout)
    there = json.loads(note.read_text())["folder"]
    assert locate(note, tmp_path / "other").stdout.strip() == there
    hub.cache.rename(tmp_path / "moved")
    here = Path(locate(note, tmp_path / "moved").stdout.strip())
    assert here == tmp_path / "moved" / Path(there).relative_to(hub.cache)
    assert (here / "model.safetensors").stat().st_size == 50_000
    done = locate(note, hub.cache)
    assert done.returncode == 3
    assert f"was fetched to {there}, but all of it is gone; run the same command again" in done.stdout


def test_files_purged_from_the_cache_are_named_and_fetched_again(hub, tmp_path):
    (hub.folder / "owner/model/chat_template.jinja").write_text("{{ messages }}")
    note = tmp_path / "note.json"
    account = fetch(hub, tmp_path).stdout
    note.write_text(account)
    folder = Path(json.loads(account)["folder"])
    (folder / "README.md").write_text("put there by hand")
    assert fetched_files(folder) == ["chat_template.jinja", "config.json", "model.safetensors"]
    (folder / "chat_template.jinja").resolve().unlink()  # the link to it stays
    done = locate(note, hub.cache)
    assert done.returncode == 3
    assert f"was fetched to {folder}, but chat_template.jinja of it is gone; run the same command" in done.stdout
    assert forget_if_gone(note) == ["chat_template.jinja"]
    assert not note.exists(), "so that the job that needs it fetches it again"
    note.write_text(fetch(hub, tmp_path).stdout)
    assert note.read_text() == account, "as before, so that what was measured is not measured again"
    files_of(note).write_text(json.dumps(fetched_files(folder)))
    for gone in ("config.json", "model.safetensors"):
        (folder / gone).unlink()  # the link is gone too
        assert forget_if_gone(note) == [gone]
        note.write_text(fetch(hub, tmp_path).stdout)
        assert locate(note, hub.cache).stdout.strip() == str(folder)


def test_a_note_is_kept_while_its_files_exist(hub, tmp_path):
    note = tmp_path / "note.json"
    assert forget_if_gone(note) == []
    note.write_text(fetch(hub, tmp_path).stdout)
    assert forget_if_gone(note) == []
    assert note.exists()
    note.write_text("[1]")
    assert forget_if_gone(note) == ["note.json"]


LOAD = """
import sys, time
from vlmflow import load_model
from vlmflow.engine.modules import ModelError
started = time.monotonic()
try:
    print(type(load_model(sys.argv[1], device="cpu")).__name__)
except ModelError as error:
    print(error)
assert time.monotonic() - started < 10
"""


def load(path, folder, home, **environment):
    environment = os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "0"} | environment
    command = [sys.executable, "-c", LOAD, str(path)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


NOBODY = {"HF_ENDPOINT": "http://127.0.0.1:9"}


def test_without_a_network_a_hub_id_is_reported_at_once(tmp_path):
    text = load("owner/model", tmp_path, tmp_path / "cache", **NOBODY)
    assert text.startswith("owner/model: the hub at http://127.0.0.1:9 cannot be reached (")
    assert text.endswith(f"if it should be a folder: there is no folder at {tmp_path}/owner/model")


def test_a_misspelt_folder_is_reported_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-models" / "my-next").mkdir(parents=True)
    with pytest.raises(ModelError) as misspelt:
        load_model("my-models/my-nxt")
    place = f"{tmp_path}/my-models"
    assert str(misspelt.value) == f"there is no model folder {place}/my-nxt; did you mean {place}/my-next?"
    with pytest.raises(ModelError) as elsewhere:
        load_model("resources/x")
    assert str(elsewhere.value) == f"there is no model folder {tmp_path}/resources/x"


def test_what_the_hub_does_not_have_may_be_a_folder(hub, tmp_path):
    text = load("owner/none", tmp_path, tmp_path / "cache", HF_ENDPOINT=hub.url)
    assert text.endswith(f"if it should be a folder: there is no folder at {tmp_path}/owner/none")
    done = fetch(hub, tmp_path, repository="owner/none")
    assert "if it should be a folder: there is no folder at" in done.stdout


def test_what_is_in_the_cache_is_loaded_without_a_network(hub, tmp_path):
    shutil.rmtree(hub.folder / "owner/model")
    shutil.copytree(TINY_LLAVA, hub.folder / "owner/model")
    done = fetch(hub, tmp_path, revision="main")
    assert done.returncode == 0, done.stdout + done.stderr
    assert load("owner/model", tmp_path, hub.cache, **NOBODY) == "VisionLanguageModel"

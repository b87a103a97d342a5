"""Opening a tokenizer by what a person types."""

import json
import os
import subprocess
import sys
import threading
import zlib
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import tokenizers

from yxanul.base.errors import YxanulError
from yxanul.base.ui import SilentUi
from yxanul.tokenizer.build import build_tokenizer
from yxanul.tokenizer.config import BpeSettings, ByteSettings, SuperBpeSettings
from yxanul.tokenizer.load import describe, open_named

TEXTS = ["The little fox ran over the little hill and the little river. "] * 9


def build(settings):
    return build_tokenizer(settings, lambda: TEXTS, SilentUi())


def save_vocabulary(tokenizer, folder):
    tokenizers.Tokenizer.from_str(tokenizer.to_json()).model.save(str(folder))


def test_a_kind_a_file_and_a_folder(tmp_path):
    made = build(BpeSettings(vocab_size=280))
    made.save(tmp_path / "tokenizer.json")
    assert open_named("byte").digest == build(ByteSettings()).digest
    assert open_named(str(tmp_path)).digest == made.digest
    assert open_named(str(tmp_path / "tokenizer.json")).digest == made.digest


@pytest.mark.parametrize("kind", [BpeSettings, SuperBpeSettings])
def test_a_vocabulary_says_itself_how_text_is_cut(tmp_path, kind):
    made = build(kind(vocab_size=290))
    save_vocabulary(made, tmp_path)
    opened = open_named(str(tmp_path))
    assert opened.encode(TEXTS[0]) == made.encode(TEXTS[0])
    assert describe(opened).kind == kind().kind


def test_a_folder_of_gpt2(shared_data):
    facts = describe(open_named(str(shared_data / "gpt2")))
    assert (facts.kind, facts.vocab_size, facts.end_of_text_id) == ("bpe", 50257, 50256)
    assert facts.num_merges == 50_000


@pytest.mark.slow
def test_a_folder_of_superbpe(shared_data):
    facts = describe(open_named(str(shared_data / "superbpe")))
    assert (facts.kind, facts.vocab_size, facts.num_merges) == ("superbpe", 200_005, 199_757)


def test_a_folder_beside_us_comes_before_a_kind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "byte").mkdir()
    assert open_named("byte").vocab_size == 257
    made = build(BpeSettings(vocab_size=280))
    made.save(tmp_path / "byte" / "tokenizer.json")
    assert open_named("byte").digest == made.digest


def test_facts():
    facts = describe(build(SuperBpeSettings(vocab_size=300, chat_template="plain")))
    assert facts.kind == "superbpe"
    assert facts.added_tokens == {facts.end_of_text: facts.end_of_text_id}
    assert facts.chat_template
    assert describe(open_named("byte")).kind == "byte"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bytes", "unknown tokenizer 'bytes'.*did you mean 'byte'"),
        ("superbpe", "'superbpe' has no"),
        ("./not/there", "unknown tokenizer"),
        ("", "unknown tokenizer|holds no tokenizer"),
    ],
)
def test_what_is_no_tokenizer(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(YxanulError, match=message):
        open_named(name)


def test_an_empty_folder(tmp_path):
    with pytest.raises(YxanulError, match=r"expected tokenizer\.json"):
        open_named(str(tmp_path))


@contextmanager
def hub(files):
    """Serve files of models as the hub does, on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = files.get(self.path.partition("?")[0])
            self.send_response(404 if body is None else 200)
            self.send_header("ETag", f'"{zlib.crc32(body or b"")}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body or b"")

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def model_files(name, files):
    """Return what the hub serves of a model with these files, each given as JSON."""
    commit = "0" * 40
    facts = {"id": name, "sha": commit, "siblings": [{"rfilename": file} for file in files]}
    served = {f"/{name}/resolve/{commit}/{file}": own for file, own in files.items()}
    served[f"/api/models/{name}/revision/main"] = facts
    served = {path: json.dumps(content).encode() for path, content in served.items()}
    sizes = {file: len(served[f"/{name}/resolve/{commit}/{file}"]) for file in files}
    tree = [{"type": "file", "path": f, "size": n, "oid": "0" * 40} for f, n in sizes.items()]
    return served | {f"/api/models/{name}/tree/{commit}": json.dumps(tree).encode()}


def show_from_hub(name, files, cache):
    """Return the facts that `tokenizer show` prints of a model on the hub."""
    with hub(files) as address:
        environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(cache)}
        environment.pop("HF_HUB_OFFLINE", None)
        words = ["-m", "yxanul", "tokenizer", "show", name, "--json"]
        result = subprocess.run(
            [sys.executable, *words], capture_output=True, text=True, env=environment
        )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return json.loads(result.stdout)


def test_a_kind_from_the_hub(tmp_path):
    """The published SuperBPE is asked for by its name; its end of text is the last of its ids."""
    content = json.loads(build(ByteSettings()).to_json())
    content["model"]["vocab"]["<|end|>"] = 200_004
    content["added_tokens"][0].update(id=200_004, content="<|end|>")
    files = model_files("UW/OLMo2-8B-SuperBPE-t80k", {"tokenizer.json": content})
    facts = show_from_hub("superbpe-t80k", files, tmp_path)
    assert (facts["end_of_text"], facts["end_of_text_id"]) == ("<|end|>", 200_004)


def test_a_model_of_the_hub_is_the_folder_it_was_made_of(tmp_path):
    """Its end of text and chat template stand beside its tokenizer.json."""
    content = json.loads(build(ByteSettings()).to_json())
    content["model"]["vocab"]["<|stop|>"] = 257
    config = {"eos_token": "<|stop|>", "chat_template": "{{ messages[0].content }}"}
    files = {"tokenizer.json": content, "tokenizer_config.json": config}
    for name, own in files.items():
        (tmp_path / name).write_text(json.dumps(own))
    facts = show_from_hub("ann/tiny", model_files("ann/tiny", files), tmp_path / "cache")
    assert (facts["end_of_text"], facts["chat_template"]) == ("<|stop|>", config["chat_template"])
    assert facts["digest"] == open_named(str(tmp_path)).digest

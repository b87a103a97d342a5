import json
import subprocess
import sys

import huggingface_hub
import pytest

from yxanul.base.errors import YxanulError
from yxanul.base.ui import SilentUi
from yxanul.tokenizer.build import build_tokenizer
from yxanul.tokenizer.config import BpeSettings, ByteSettings, FileSettings, Gpt2Settings

STORY = "The little fox ran over the little hill and the little river. "


class Listener(SilentUi):
    def __init__(self):
        self.warnings = []

    def warn(self, line):
        self.warnings.append(line)


def no_text():
    raise AssertionError("this kind needs no text")


def test_byte_ids_are_the_bytes():
    tokenizer = build_tokenizer(ByteSettings(), no_text, SilentUi())
    assert tokenizer.vocab_size == 257
    assert tokenizer.end_of_text_id == 256
    assert tokenizer.encode("Añ\n") == list("Añ\n".encode())


def test_bpe_is_as_large_as_asked_and_ends_with_the_end_of_text(shared_data):
    text = (shared_data / "stories" / "tinystories.txt").read_text()[:300_000]
    ui = Listener()
    tokenizer = build_tokenizer(BpeSettings(vocab_size=700), lambda: text.split("\n\n"), ui)
    assert tokenizer.vocab_size == 700
    assert tokenizer.end_of_text_id == 699
    assert ui.warnings == []
    assert len(tokenizer.encode(text)) < len(text) / 2


def test_little_text_gives_fewer_tokens_and_says_so():
    ui = Listener()
    tokenizer = build_tokenizer(BpeSettings(vocab_size=4096), lambda: [STORY] * 3, ui)
    assert 257 < tokenizer.vocab_size < 400
    assert tokenizer.end_of_text_id == tokenizer.vocab_size - 1
    assert str(tokenizer.vocab_size) in ui.warnings[0]


def test_bpe_reads_no_more_than_its_sample():
    def endless():
        while True:
            yield STORY

    settings = BpeSettings(vocab_size=270, sample_bytes=10_000)
    assert build_tokenizer(settings, endless, SilentUi()).vocab_size == 270


def test_bpe_without_text_is_an_error():
    with pytest.raises(YxanulError, match="no text"):
        build_tokenizer(BpeSettings(), lambda: [], SilentUi())


def test_the_same_text_gives_the_same_merges_in_another_process():
    code = (
        "from yxanul.base.ui import SilentUi\n"
        "from yxanul.tokenizer.build import build_tokenizer\n"
        "from yxanul.tokenizer.config import BpeSettings\n"
        f"texts = [{STORY!r} + str(i * i) for i in range(300)]\n"
        "made = build_tokenizer(BpeSettings(vocab_size=400), lambda: texts, SilentUi())\n"
        "print(made.digest)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(digests) == 1


def test_gpt2_golden(shared_data):
    folder = shared_data / "gpt2"
    tokenizer = build_tokenizer(Gpt2Settings(path=str(folder)), no_text, SilentUi())
    assert tokenizer.vocab_size == 50257
    assert tokenizer.end_of_text_id == 50256
    assert tokenizer.encode("Hello world") == [15496, 995]
    assert tokenizer.tokens([15496, 995]) == ["Hello", " world"]


def test_gpt2_without_its_files_is_an_error(tmp_path):
    with pytest.raises(YxanulError, match=r"encoder\.json is missing"):
        build_tokenizer(Gpt2Settings(path=str(tmp_path)), no_text, SilentUi())


def test_gpt2_with_broken_files_is_an_error(tmp_path):
    (tmp_path / "encoder.json").write_text("{")
    (tmp_path / "vocab.bpe").write_text("")
    with pytest.raises(YxanulError, match="no valid GPT-2 vocabulary"):
        build_tokenizer(Gpt2Settings(path=str(tmp_path)), no_text, SilentUi())


@pytest.mark.parametrize(
    "settings", [Gpt2Settings(), FileSettings(path="somebody/some-model")], ids=["gpt2", "file"]
)
def test_an_unreachable_hub_is_one_line(settings, monkeypatch):
    def no_route(*args, **options):
        raise OSError("no route\nmany more lines")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", no_route)
    with pytest.raises(YxanulError, match="cannot fetch") as caught:
        build_tokenizer(settings, no_text, SilentUi())
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_not_looked_for_on_the_hub(tmp_path):
    with pytest.raises(YxanulError, match="no tokenizer at"):
        build_tokenizer(FileSettings(path="some/tokenizer.json"), no_text, SilentUi())


def test_a_file_that_is_no_tokenizer_is_an_error(tmp_path):
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": 1}))
    with pytest.raises(YxanulError, match="not a tokenizer"):
        build_tokenizer(FileSettings(path=str(tmp_path)), no_text, SilentUi())

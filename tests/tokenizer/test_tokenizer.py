import json

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors

from yxanul.base.errors import YxanulError
from yxanul.base.ui import SilentUi
from yxanul.tokenizer.build import build_tokenizer
from yxanul.tokenizer.config import BpeSettings, ByteSettings, FileSettings, Gpt2Settings
from yxanul.tokenizer.pre_tokenizers import byte_symbols
from yxanul.tokenizer.tokenizer import Tokenizer


@pytest.fixture
def byte():
    return build_tokenizer(ByteSettings(), lambda: [], SilentUi())


def unigram(path, *, end="</s>"):
    """A tokenizer of the other family: no bytes, a ▁ for spaces, its end of text in the model."""
    words = ["<unk>", end, "▁the", "▁cat", "▁", "<", "/", "s", ">", "c", "a", "t"]
    scores = [(word, -float(i)) for i, word in enumerate(words)]
    raw = tokenizers.Tokenizer(models.Unigram(scores, unk_id=0, byte_fallback=False))
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.decoder = decoders.Metaspace()
    raw.save(str(path))
    return path


def test_broken_utf8_is_shown_and_never_raised(byte):
    assert byte.decode([0xFF, 65, 0xE2, 0x82]) == "\ufffdA\ufffd"
    assert byte.decode_bytes([0xFF, 65]) == b"\xffA"


def test_decoding_agrees_with_the_library(byte, tmp_path):
    text = "naïve 🦊 text <|endoftext|>\n"
    byte.save(tmp_path / "tokenizer.json")
    stock = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert stock.decode(byte.encode(text), skip_special_tokens=False) == text
    assert sorted(byte_symbols()) == sorted(pre_tokenizers.ByteLevel.alphabet())


@pytest.mark.parametrize("bad", [-1, 257])
def test_an_id_outside_the_vocabulary_is_an_error(byte, bad):
    with pytest.raises(YxanulError, match=f"unknown token id {bad}"):
        byte.decode([65, bad])


def test_half_a_surrogate_pair_is_an_error(byte):
    with pytest.raises(YxanulError, match="invalid Unicode"):
        byte.encode("\ud800")


def test_another_family_keeps_the_end_of_text_out_of_the_text(tmp_path):
    tokenizer = Tokenizer.load(unigram(tmp_path / "tokenizer.json"))
    assert tokenizer.end_of_text == "</s>"
    ids = tokenizer.encode("the cat</s>")
    assert tokenizer.end_of_text_id not in ids
    assert tokenizer.decode_bytes(tokenizer.encode("the cat")) == b"the cat"
    assert tokenizer.tokens(tokenizer.encode("the cat")) == ["▁the", "▁cat"]


def test_without_an_end_of_text_a_file_is_refused(tmp_path):
    path = unigram(tmp_path / "tokenizer.json", end="<stop>")
    with pytest.raises(YxanulError, match="no end of text"):
        Tokenizer.load(path)
    assert Tokenizer.load(path, "<stop>").end_of_text_id == 1
    with pytest.raises(YxanulError, match=r"'<stopp>'.*'<stop>'"):
        Tokenizer.load(path, "<stopp>")


@pytest.mark.parametrize("token", ["<stop>", {"content": "<stop>", "lstrip": False}])
def test_the_end_of_text_that_the_folder_declares_counts(tmp_path, token):
    path = unigram(tmp_path / "tokenizer.json", end="<stop>")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": token}))
    assert Tokenizer.load(path).end_of_text == "<stop>"


def test_a_chosen_end_of_text_survives_saving(tmp_path):
    path = unigram(tmp_path / "tokenizer.json")
    chosen = build_tokenizer(FileSettings(path=str(path), end_of_text="▁"), lambda: [], SilentUi())
    (tmp_path / "saved").mkdir()
    chosen.save(tmp_path / "saved" / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "saved")
    assert loaded.end_of_text == "▁"
    assert loaded.digest == chosen.digest
    assert loaded.digest != Tokenizer.load(path).digest


def test_a_file_that_cuts_pads_and_frames_is_used_without_that(tmp_path):
    made = build_tokenizer(BpeSettings(vocab_size=270), lambda: ["abc abc"] * 9, SilentUi())
    made.save(tmp_path / "tokenizer.json")
    raw = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    raw.enable_truncation(2)
    raw.enable_padding(length=50)
    end = (made.end_of_text, made.end_of_text_id)
    raw.post_processor = processors.TemplateProcessing(
        single=f"{end[0]} $A {end[0]}", special_tokens=[end]
    )
    raw.save(str(tmp_path / "tokenizer.json"))
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    assert loaded.encode("a longer line") == made.encode("a longer line")


def test_an_end_of_text_kept_as_an_ordinary_token_is_still_special(tmp_path):
    vocab = {symbol: byte for byte, symbol in enumerate(byte_symbols())}
    raw = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_tokens([tokenizers.AddedToken("<eos>", special=False)])
    raw.save(str(tmp_path / "tokenizer.json"))
    assert Tokenizer.load(tmp_path).encode("<eos>") == list(b"<eos>")


def test_a_vocabulary_with_a_gap_reaches_to_its_last_id(tmp_path):
    made = build_tokenizer(ByteSettings(), lambda: [], SilentUi())
    content = json.loads(made.to_json())
    content["added_tokens"][0]["id"] = 256
    content["model"]["vocab"]["far"] = 300
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    loaded = Tokenizer.load(tmp_path)
    assert loaded.vocab_size == 301
    assert loaded.decode([65, 280, 66]) == "AB"


def test_a_long_text_is_encoded_in_pieces_with_the_same_ids(monkeypatch, shared_data):
    """GPT-2's tokens never reach over the cuts."""
    from yxanul.tokenizer import tokenizer as module

    gpt2 = build_tokenizer(Gpt2Settings(path=str(shared_data / "gpt2")), lambda: [], SilentUi())
    text = (shared_data / "stories" / "tinystories.txt").read_text()[:60_000]
    odd = "a  b \n c's  'd " * 50 + "x" * 500 + "  " + "\u3000 y\t z" * 30
    texts = [text, odd, "short", "w" * 3000, " " * 3000]
    whole = gpt2.encode_batch(texts)
    for size in (1, 7, 100, 999):
        monkeypatch.setattr(module, "_CHUNK_CHARS", size)
        assert gpt2.encode_batch(texts) == whole
        assert [gpt2.encode(text) for text in texts] == whole

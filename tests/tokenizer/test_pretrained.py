import json

import pytest

from pairs import train_tokenizer
from yxanul.base.errors import YxanulError
from yxanul.tokenizer.pretrained import load_pretrained_tokenizer

NUM_IDS = 96


def write(folder, raw=None, **files):
    """Write a tokenizer and JSON files named without their suffix."""
    folder.mkdir(exist_ok=True)
    (raw or train_tokenizer()).save(str(folder / "tokenizer.json"))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def ends(folder):
    tokenizer = load_pretrained_tokenizer(folder, NUM_IDS)
    return tuple(tokenizer.tokens([tokenizer.bos_id, tokenizer.end_of_text_id]))


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({}, ("</s>", "</s>")),
        ({"config": {"eos_token_id": 0}}, ("<pad>", "<pad>")),
        ({"config": {"eos_token_id": 0, "bos_token_id": 1}}, ("<s>", "<pad>")),
        ({"config": {"eos_token_id": 0}, "generation_config": {"eos_token_id": [2, 0]}},
         ("</s>", "</s>")),
        ({"config": {"eos_token_id": 9999, "bos_token_id": None}}, ("</s>", "</s>")),
        ({"config": {"eos_token_id": [10**30, -1, 0]}}, ("<pad>", "<pad>")),
        ({"tokenizer_config": {"eos_token": {"content": "<pad>"}}}, ("<pad>", "<pad>")),
        ({"special_tokens_map": {"bos_token": "<s>"}}, ("<s>", "</s>")),
    ],
)  # fmt: skip
def test_who_says_where_documents_begin_and_end(tmp_path, files, wanted):
    assert ends(write(tmp_path, **files)) == wanted


@pytest.mark.parametrize("wrong", ["x", 1.0, True, {}, [["a"]], [0.5]])
@pytest.mark.parametrize("key", ["eos_token_id", "bos_token_id"])
def test_a_wrong_id_is_one_line_that_names_it(tmp_path, key, wrong):
    with pytest.raises(YxanulError, match=rf"config.json: {key}; got .*whole number"):
        ends(write(tmp_path, config={key: wrong}))


def test_what_the_tokenizer_puts_in_front_counts_most(tmp_path):
    raw = train_tokenizer(begin="<s>", padding=True)
    assert ends(write(tmp_path, raw, config={"bos_token_id": 0})) == ("<s>", "</s>")
    tokenizer = load_pretrained_tokenizer(tmp_path, NUM_IDS)
    assert tokenizer.decode(tokenizer.encode("The fox")) == "The fox"


def test_a_model_may_know_more_ids_but_not_fewer(tmp_path):
    raw = train_tokenizer()
    size = raw.get_vocab_size()
    folder = write(tmp_path, raw)
    tokenizer = load_pretrained_tokenizer(folder, size + 7)
    assert tokenizer.vocab_size == size + 7
    assert tokenizer.decode([*tokenizer.encode("fox"), size + 6]) == "fox"
    with pytest.raises(YxanulError, match=f"got {size}; expected at most {size - 1}"):
        load_pretrained_tokenizer(folder, size - 1)
    raw.add_special_tokens(["<image>"])  # as Gemma 3 has one that its text models do not know
    assert load_pretrained_tokenizer(write(tmp_path, raw), size).num_ids_in_use == size


def test_a_vocabulary_of_gpt2(tmp_path):
    raw = train_tokenizer()
    raw.model.save(str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"vocab.json", "merges.txt"}
    text = "The fox ran home"
    assert load_pretrained_tokenizer(tmp_path, NUM_IDS).encode(text) == raw.encode(text).ids
    config = {"tokenizer_class": "Qwen2Tokenizer"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(YxanulError, match=r"no tokenizer.json; got vocab.json, merges.txt"):
        load_pretrained_tokenizer(tmp_path, NUM_IDS)


def test_sentencepiece_alone_is_refused_with_a_way_out(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(b"")
    with pytest.raises(YxanulError, match=r"got tokenizer.model; .*save_pretrained"):
        load_pretrained_tokenizer(tmp_path, NUM_IDS)


@pytest.mark.parametrize("name", ["tokenizer_config.json", "special_tokens_map.json"])
def test_a_broken_file_of_special_tokens_is_refused(tmp_path, name):
    folder = write(tmp_path, train_tokenizer())
    (folder / name).write_text('{"eos_token": "<p')
    with pytest.raises(YxanulError, match=name):
        load_pretrained_tokenizer(folder, NUM_IDS)

import copy

import pytest
import torch

from yxanul.base.errors import YxanulError
from yxanul.base.ui import SilentUi
from yxanul.generate.config import SampleSettings
from yxanul.generate.decode import Completion, complete, stream
from yxanul.tokenizer.build import build_tokenizer
from yxanul.tokenizer.config import ByteSettings

GREEDY = {"temperature": 0.0}
END = 256


def full_pass(model, prompt, num_tokens):
    """Choose the likeliest token again and again, reading everything anew each time."""
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(num_tokens):
            ids.append(model.logits(model.hidden(torch.tensor([ids])))[0, -1].argmax().item())
    return ids[len(prompt) :]


def until_end(ids):
    return ids[: ids.index(END)] if END in ids else ids


class Letters:
    """Every id is a letter of its own, so that text tells the ids."""

    vocab_size, bos_id, end_of_text_id = END + 1, END, END

    def encode(self, text):
        return [ord(letter) - 1000 for letter in text]

    def decode(self, ids):
        return "".join(chr(1000 + i) for i in ids)

    def may_change(self, token):
        return False


def test_greedy_equals_the_full_pass(model):
    letters, prompt = Letters(), [5, 200, 31]
    settings = SampleSettings(**GREEDY, max_tokens=30, num_samples=2)
    for one in complete(model, letters, letters.decode(prompt), settings):
        assert letters.encode(one.text) == until_end(full_pass(model, [END, *prompt], 30))
        assert one.text


def test_a_seed_decides_and_every_sample_is_its_own(model, tokenizer):
    def texts(**fields):
        found = complete(model, tokenizer, "Once", SampleSettings(max_tokens=20, **fields))
        return [one.text for one in found]

    three = texts(num_samples=3, seed=1)
    assert three == texts(num_samples=3, seed=1)
    assert three[:1] == texts(num_samples=1, seed=1)
    assert len(set(three)) == 3
    assert three[:1] != texts(seed=2)


def test_streamed_pieces_join_to_the_whole(model, tokenizer):
    settings = SampleSettings(max_tokens=25, num_samples=2, stop=("a", "\x07"))
    texts, ends = ["", ""], [[], []]
    for piece in stream(model, tokenizer, "x", settings):
        assert not ends[piece.sample], "a sample went on after its end"
        texts[piece.sample] += piece.text
        if piece.finished:
            ends[piece.sample].append(piece.finished)
    expected = complete(model, tokenizer, "x", settings)
    assert [Completion(t, e[0]) for t, e in zip(texts, ends, strict=True)] == expected


def test_samples_end_independently(model, tokenizer, script):
    script([*b"ab", END, *b"xx"], [*b"c#", *b"yyy"], [*b"defgh"])
    settings = SampleSettings(max_tokens=5, num_samples=3, stop=("#",))
    assert complete(model, tokenizer, "p", settings) == [
        Completion("ab", "end_of_text"),
        Completion("c", "stop"),
        Completion("defgh", "length"),
    ]


def test_it_stops_computing_when_all_have_ended(model, tokenizer, script):
    script([*b"a", END], [END, *b"b"])  # a third step would run out of script
    complete(model, tokenizer, "p", SampleSettings(max_tokens=9, num_samples=2))


def test_a_stop_string_across_tokens_is_cut_and_never_streamed(model, tokenizer, script):
    script([*b"on\n-off\n--more"])
    pieces = list(stream(model, tokenizer, "p", SampleSettings(max_tokens=14, stop=("\n--",))))
    assert [piece.text for piece in pieces] == ["o", "n", "\n-o", "f", "f", ""]
    assert pieces[-1].finished == "stop"


def test_what_only_began_a_stop_string_comes_at_the_end(model, tokenizer, script):
    script([*b"ab\n-"])
    settings = SampleSettings(max_tokens=4, stop=("\n--",))
    assert complete(model, tokenizer, "p", settings) == [Completion("ab\n-", "length")]


def test_characters_are_never_cut(model, tokenizer, script):
    script([*"né€".encode(), 0xE2])
    pieces = list(stream(model, tokenizer, "p", SampleSettings(max_tokens=7)))
    assert [piece.text for piece in pieces] == ["n", "é", "€", "\ufffd"]


def test_prompt_and_text_fill_the_context_and_no_more(model, tokenizer):
    settings = SampleSettings(max_tokens=1000, temperature=0.0)
    (one,) = complete(model, Letters(), Letters().decode([1] * 30), settings)
    assert len(one.text) == len(until_end(full_pass(model, [END, *[1] * 30], 9)))
    assert complete(model, tokenizer, "x" * 39, settings) == [Completion("", "length")]
    with pytest.raises(YxanulError, match=r"got 41 tokens.* expected at most 40"):
        complete(model, tokenizer, "x" * 40, settings)


def test_an_empty_prompt_begins_a_document(model):
    (one,) = complete(model, Letters(), "", SampleSettings(**GREEDY, max_tokens=8))
    assert Letters().encode(one.text) == until_end(full_pass(model, [END], 8))


def test_a_token_with_id_zero_may_end_a_text(model, script):
    class Zero(Letters):
        end_of_text_id = 0

    script([5, 0, 7])
    (one,) = complete(model, Zero(), "ϩ", SampleSettings(max_tokens=3))
    assert one == Completion(Letters().decode([5]), "end_of_text")


def test_the_real_byte_tokenizer(model):
    tokenizer = build_tokenizer(ByteSettings(), lambda: [], SilentUi())
    assert tokenizer.vocab_size == model.settings.known_vocab_size
    settings = SampleSettings(max_tokens=20, num_samples=2, top_k=50, top_p=0.9, min_p=0.01)
    found = complete(model, tokenizer, "Es war", settings)
    assert len(found) == 2 and all(isinstance(one.text, str) for one in found)


def test_a_bf16_model_generates(model, tokenizer):
    low = copy.deepcopy(model).to(torch.bfloat16)
    assert complete(low, tokenizer, "Once", SampleSettings(max_tokens=5))[0].finished

"""A tokenizer whose ids are characters or bytes, a tiny model, and scripts instead of sampling."""

import pytest
import torch

from yxanul.generate import ids
from yxanul.model.config import ModelSettings
from yxanul.model.language_model import LanguageModel


class ByteStandIn:
    """Ids are bytes; 256 is the end of text."""

    vocab_size, bos_id, end_of_text_id = 257, 256, 256

    def encode(self, text):
        return list(text.encode())

    def decode(self, ids):
        return bytes(ids).decode(errors="replace")

    def may_change(self, token):
        return False


@pytest.fixture
def tokenizer():
    return ByteStandIn()


@pytest.fixture(scope="session")
def model():
    model = LanguageModel(
        ModelSettings(
            width=32, depth=2, num_heads=4, num_kv_heads=2, vocab_size=257, max_seq_len=40,
            init_std=0.3,
        )
    )  # fmt: skip
    model.init_weights(torch.Generator().manual_seed(0))
    return model


@pytest.fixture
def script(monkeypatch):
    """Make the model say the given ids, one row a sample, whatever the scores are."""

    def script(*rows):
        steps = iter(torch.tensor(rows).T)
        monkeypatch.setattr(ids, "sample", lambda *_: next(steps))

    return script

"""Tiny models on one thread: they are too small to share."""

import pytest
import torch

from yxanul.model.config import ModelSettings
from yxanul.model.language_model import LanguageModel

TINY = {"width": 32, "depth": 2, "num_heads": 4, "max_seq_len": 32, "vocab_size": 50}


@pytest.fixture
def build():
    """Make a tiny model from fields that differ from the usual ones."""

    def build(**fields):
        model = LanguageModel(ModelSettings(**{**TINY, **fields}))
        model.init_weights(torch.Generator().manual_seed(1))
        return model

    return build


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)

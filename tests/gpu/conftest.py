"""Tests of the CUDA paths against slower, plainer ones. On a CPU they compare what a CPU has."""

import pytest
import torch

from yxanul.model.config import ModelSettings
from yxanul.model.language_model import LanguageModel


def pytest_collection_modifyitems(items):
    for item in items:
        if "gpu" in item.path.parts:
            item.add_marker(pytest.mark.gpu)


@pytest.fixture
def device():
    """The GPU, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture
def gpu(device):
    """The GPU; skips where there is none."""
    if device.type != "cuda":
        pytest.skip("needs a GPU")
    return device


@pytest.fixture
def build(device):
    """A function that makes a small model on the device, the same each time."""

    def make(**fields):
        shape = {"width": 64, "depth": 2, "num_heads": 4, "num_kv_heads": 2, "ffn_width": 128}
        model = LanguageModel(ModelSettings(**shape | {"vocab_size": 256} | fields))
        model.init_weights(torch.Generator().manual_seed(0))
        return model.to(device)

    return make


@pytest.fixture
def ids(device):
    """Rows of random ids, B x T."""
    return torch.randint(256, (4, 128), generator=torch.Generator().manual_seed(1)).to(device)

import math
import stat

import pytest
import torch

from yxanul.checkpoint.layout import checkpoint_name, checkpoint_steps, step_of
from yxanul.checkpoint.read import read_checkpoint
from yxanul.checkpoint.write import write_checkpoint

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]


def test_names_hold_the_step_as_a_number():
    assert checkpoint_name(1200) == "step-00001200"
    assert step_of("step-00001200") == 1200
    assert step_of(checkpoint_name(123_456_789_012)) == 123_456_789_012
    for other in ("step-1200", "step-00001200x", ".step-00001200.7.partial", "best"):
        assert step_of(other) is None


def test_order_is_that_of_numbers(tmp_path):
    for step in (20_000, 100_000, 3, 250_000_000_000):
        write_checkpoint(tmp_path, step, {}, None)
    (tmp_path / "step-00000007").write_text("a file, no checkpoint")
    assert checkpoint_steps(tmp_path) == [3, 20_000, 100_000, 250_000_000_000]
    assert checkpoint_steps(tmp_path / "absent") == []


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_comes_back_to_the_bit(tmp_path, dtype):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(5, 7, generator=generator)
    tensors = {
        "values": (values * 9).to(dtype),
        "scalar": torch.tensor(3).to(dtype),
        "empty": torch.zeros(0, 4, dtype=dtype),
    }
    if dtype.is_floating_point:
        tensors["odd"] = torch.tensor([math.inf, -math.inf, -0.0, 1e-7]).to(dtype)
    path = write_checkpoint(tmp_path, 1, {"model": tensors}, {})
    loaded, _ = read_checkpoint(path)
    for name, tensor in tensors.items():
        assert loaded["model"][name].dtype == dtype
        assert torch.equal(loaded["model"][name], tensor), name


def test_state_comes_back_as_it_was(tmp_path):
    state = {
        "step": 12,
        "rate": 0.1 + 0.2,
        "best": math.inf,
        "name": "Zoë",
        "flags": [True, None, [1, 2**70]],
    }
    path = write_checkpoint(tmp_path, 12, {}, state)
    assert read_checkpoint(path) == ({}, state)


def test_a_tensor_that_is_not_contiguous_comes_back(tmp_path):
    turned = torch.arange(12.0).reshape(3, 4).mT
    path = write_checkpoint(tmp_path, 1, {"model": {"turned": turned}}, {})
    assert torch.equal(read_checkpoint(path)[0]["model"]["turned"], turned)


def test_only_the_wanted_files_are_read(tmp_path):
    tensors = {"model": {"a": torch.ones(2)}, "optimizer": {"b": torch.ones(3)}}
    path = write_checkpoint(tmp_path, 1, tensors, {"x": 1})
    (path / "optimizer.safetensors").unlink()
    loaded, state = read_checkpoint(path, only=["model"])
    assert list(loaded) == ["model"] and state == {"x": 1}


def test_all_files_have_the_usual_rights(tmp_path):
    path = write_checkpoint(tmp_path, 1, {"model": {"a": torch.ones(2)}}, {})
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.iterdir()}
    assert len(modes) == 1 and modes != {0o600}


def test_writing_a_step_again_replaces_it(tmp_path):
    for value in (1, 2):
        path = write_checkpoint(tmp_path, 5, {"model": {"a": torch.full((2,), value)}}, value)
    tensors, state = read_checkpoint(path)
    assert state == 2 and tensors["model"]["a"].tolist() == [2, 2]
    assert [entry.name for entry in tmp_path.iterdir()] == ["step-00000005"]

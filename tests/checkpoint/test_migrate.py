"""Checkpoints of older versions: a real one of version 1 is in tests/golden."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from yxanul.checkpoint import layout
from yxanul.checkpoint.read import (
    MIGRATIONS,
    migrated,
    newest_intact,
    read_checkpoint,
    read_manifest,
)
from yxanul.checkpoint.write import write_checkpoint

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "checkpoint-v1"
OLD = GOLDEN / "step-00000008"
NEW_KEYS = {"loss_scale": None, "devices": 1, "micro_rows": {}}


def test_the_golden_one_is_of_version_1_and_loads():
    assert read_manifest(OLD)["schema_version"] == 1
    assert newest_intact(GOLDEN) == (OLD, [])
    tensors, state = read_checkpoint(OLD)
    plain = json.loads((OLD / "state.json").read_text())
    assert not NEW_KEYS.keys() & plain.keys()
    assert state == plain | NEW_KEYS
    assert state["progress"]["step"] == 8 and state["watch"]["best_median"] == float("inf")
    assert tensors["model"]["embedding.tokens"].shape == (320, 16)
    assert all(tensor.dtype == torch.float32 for tensor in tensors["model"].values())
    names = set(tensors["model"])
    assert {name.partition(".")[2] for name in tensors["optimizer"]} == names


def test_read_and_written_again_it_is_of_todays_version(tmp_path):
    tensors, state = read_checkpoint(OLD)
    path = write_checkpoint(tmp_path, 8, tensors, state)
    assert read_manifest(path)["schema_version"] == layout.SCHEMA_VERSION == 2
    again, same = read_checkpoint(path)
    assert same == state
    for stem, named in tensors.items():
        assert named.keys() == again[stem].keys()
        assert all(torch.equal(again[stem][name], tensor) for name, tensor in named.items())
        file = f"{stem}.safetensors"
        assert (path / file).read_bytes() == (OLD / file).read_bytes()


def test_an_old_one_is_checked_like_a_new_one(tmp_path):
    shutil.copytree(OLD, tmp_path / OLD.name)
    file = tmp_path / OLD.name / "optimizer.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    best, damaged = newest_intact(tmp_path)
    assert best is None and "optimizer.safetensors: its checksum" in str(damaged[0])


def test_every_older_version_has_its_step():
    assert sorted(MIGRATIONS) == list(range(1, layout.SCHEMA_VERSION))


@pytest.mark.parametrize("state", [None, 3, [1]])
def test_a_state_of_another_kind_stays_as_it_is(state):
    assert migrated(state, 1) == state


def test_a_state_of_today_is_not_touched():
    assert migrated({"x": 1}, layout.SCHEMA_VERSION) == {"x": 1}
    assert migrated({"devices": 4}, 1) == NEW_KEYS | {"devices": 4}

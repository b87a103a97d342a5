import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from yxanul.base.errors import YxanulError
from yxanul.checkpoint.keep import Best, read_best, rotate, steps_to_delete, write_best
from yxanul.checkpoint.layout import checkpoint_steps
from yxanul.checkpoint.read import newest_intact
from yxanul.checkpoint.write import write_checkpoint

STEPS = st.sets(st.integers(0, 10**12), min_size=1, max_size=12)


EVERY = st.sampled_from([None, 1, 2, 5])


@given(STEPS, st.integers(1, 5), st.integers(0, 10**12), EVERY, st.data())
def test_rotation_keeps_the_newest_and_the_best_and_never_nothing(steps, keep, stray, every, data):
    best = data.draw(st.sampled_from([None, stray, *sorted(steps)]))
    gone = set(steps_to_delete(steps, keep, best, every))
    stay = steps - gone
    assert gone <= steps
    assert stay and max(steps) in stay
    assert best not in gone
    newest = set(sorted(steps)[-keep:])
    for_good = {step for step in steps if every and step % every == 0}
    assert stay == newest | for_good | (steps & {best})


@given(STEPS, st.integers(1, 5), EVERY, st.data())
def test_rotating_after_every_write_keeps_the_best_of_all(steps, keep, every, data):
    """What is kept at each moment is enough for what is kept later."""
    ordered = sorted(steps)
    best_index = data.draw(st.integers(0, len(ordered) - 1))
    there: set[int] = set()
    for i, step in enumerate(ordered):
        there.add(step)
        best = ordered[best_index] if i >= best_index else None
        there -= set(steps_to_delete(there, keep, best, every))
    for_good = {step for step in steps if every and step % every == 0}
    assert there == set(ordered[-keep:]) | {ordered[best_index]} | for_good


def fill(folder, *steps):
    for step in steps:
        write_checkpoint(folder, step, {"model": {"w": torch.zeros(100)}}, {})


def test_rotation_on_disk(tmp_path):
    fill(tmp_path, 5, 900, 20_000, 100_000, 99_999)
    gone = rotate(tmp_path, keep=2, best=900)
    assert [path.name for path in gone] == ["step-00000005", "step-00020000"]
    assert checkpoint_steps(tmp_path) == [900, 99_999, 100_000]
    assert rotate(tmp_path, keep=2, best=900) == []
    assert len(list(tmp_path.iterdir())) == 3


def test_multiples_stay_for_good(tmp_path):
    fill(tmp_path, 9_999, 10_000, 20_000, 100_000, 100_001)
    rotate(tmp_path, keep=1, best=None, keep_every=10_000)
    assert checkpoint_steps(tmp_path) == [10_000, 20_000, 100_000, 100_001]


def test_a_broken_multiple_is_no_copy_for_good(tmp_path):
    fill(tmp_path, 10, 20)
    (tmp_path / "step-00000010" / "model.safetensors").write_bytes(b"short")
    rotate(tmp_path, keep=1, best=None, keep_every=10)
    assert checkpoint_steps(tmp_path) == [20]


def test_the_only_intact_copy_outlives_newer_broken_ones(tmp_path):
    fill(tmp_path, 1, 2, 3)
    for step in (2, 3):
        (tmp_path / f"step-0000000{step}" / "model.safetensors").write_bytes(b"short")
    assert rotate(tmp_path, keep=1, best=None) == []
    fill(tmp_path, 4)
    rotate(tmp_path, keep=1, best=None)
    assert checkpoint_steps(tmp_path) == [4]


def test_nothing_whole_means_nothing_deleted(tmp_path):
    fill(tmp_path, 1, 2)
    for path in tmp_path.iterdir():
        (path / "manifest.json").unlink()
    assert rotate(tmp_path, keep=1, best=None) == []
    assert checkpoint_steps(tmp_path) == [1, 2]


def test_a_half_deleted_checkpoint_is_swept_up(tmp_path):
    fill(tmp_path, 1)
    (tmp_path / ".step-00000000.deleted.partial").mkdir()
    rotate(tmp_path, keep=1, best=None)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert newest_intact(tmp_path)[0] == tmp_path / "step-00000001"


def test_best_is_written_and_read(tmp_path):
    assert read_best(tmp_path) is None
    write_best(tmp_path, 1200, "val/perplexity", 0.1 + 0.2)
    assert read_best(tmp_path) == Best(1200, 0.1 + 0.2, "val/perplexity")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_never_the_best(tmp_path, value):
    with pytest.raises(ValueError, match="best"):
        write_best(tmp_path, 1, "val/loss", value)
    assert read_best(tmp_path) is None


NEWER = '{"schema_version": 9, "step": 1, "metric": "m", "value": 1}'


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"step": "x", "metric": "m", "value": 1}', "{", NEWER]
)
def test_a_broken_best_is_one_line(tmp_path, text):
    (tmp_path / "best").write_text(text)
    with pytest.raises(YxanulError, match="best"):
        read_best(tmp_path)

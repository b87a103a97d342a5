"""Whatever happens to a checkpoint, it is either read whole or named with file and reason."""

import errno
import json
import shutil

import pytest
import torch

from running import files_of
from yxanul.base.errors import YxanulError
from yxanul.base.files import sha256_of
from yxanul.checkpoint import layout
from yxanul.checkpoint import write as write_module
from yxanul.checkpoint.read import (
    CheckpointDamaged,
    looks_whole,
    newest_intact,
    read_checkpoint,
    read_manifest,
    verify_checkpoint,
)
from yxanul.checkpoint.write import write_checkpoint


def write(folder, step):
    generator = torch.Generator().manual_seed(step)
    tensors = {
        "model": {"w": torch.randn(40, 50, generator=generator)},
        "optimizer": {"exp_avg.w": torch.randn(40, 50, generator=generator)},
    }
    return write_checkpoint(folder, step, tensors, {"step": step})


@pytest.fixture
def folder(tmp_path):
    for step in (9, 10, 100):
        write(tmp_path, step)
    return tmp_path


def flip(path, position, bit=0x10):
    content = bytearray(path.read_bytes())
    content[position] ^= bit
    path.write_bytes(content)


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


def rewrite_manifest(path, **fields):
    """Change the manifest and sign it: no damage, but another's word."""
    manifest = json.loads((path / "manifest.json").read_text()) | fields
    manifest["checksum"] = layout.manifest_checksum(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))


def lying_manifest(path):
    """A truncated file whose size and checksum the manifest has: only safetensors can tell."""
    cut(path / "model.safetensors", 500)
    files = json.loads((path / "manifest.json").read_text())["files"]
    files["model.safetensors"] = {"bytes": 500, "sha256": sha256_of(path / "model.safetensors")}
    rewrite_manifest(path, files=files)


HARMS = {
    "flipped bit": (lambda p: flip(p / "model.safetensors", 4000), "model.safetensors: .*checksum"),
    "flipped header": (lambda p: flip(p / "optimizer.safetensors", 12), "optimizer.*checksum"),
    "truncated": (lambda p: cut(p / "model.safetensors", 4000), "model.safetensors: 4,000 bytes"),
    "empty file": (lambda p: cut(p / "state.json", 0), "state.json: 0 bytes"),
    "missing tensors": (lambda p: (p / "optimizer.safetensors").unlink(), "optimizer.*missing"),
    "missing state": (lambda p: (p / "state.json").unlink(), "state.json: it is missing"),
    "missing manifest": (lambda p: (p / "manifest.json").unlink(), "manifest.json: it is missing"),
    "cut manifest": (lambda p: cut(p / "manifest.json", 60), "manifest.json: it is not valid JSON"),
    "binary manifest": (lambda p: (p / "manifest.json").write_bytes(b"\xff\x00"), "not valid JSON"),
    "other manifest": (lambda p: (p / "manifest.json").write_text("[]"), "no schema_version"),
    "flipped manifest": (lambda p: flip(p / "manifest.json", 150), "manifest.json"),
    "empty folder": (lambda p: (shutil.rmtree(p), p.mkdir()), "manifest.json: it is missing"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_damage_is_named_and_the_one_before_is_taken(folder, harm):
    path = folder / "step-00000100"
    verify_checkpoint(path)
    do_harm, sentence = HARMS[harm]
    do_harm(path)
    with pytest.raises(CheckpointDamaged, match=sentence):
        read_checkpoint(path)
    best, damaged = newest_intact(folder)
    assert best == folder / "step-00000010"
    assert len(damaged) == 1 and str(path) in str(damaged[0])
    assert read_checkpoint(best)[1] == {"step": 10}


def test_a_file_that_is_no_safetensors_is_named(folder):
    lying_manifest(folder / "step-00000100")
    with pytest.raises(CheckpointDamaged, match=r"model\.safetensors: .*not a valid"):
        read_checkpoint(folder / "step-00000100")


def test_every_single_flipped_byte_is_noticed(tmp_path):
    path = write_checkpoint(tmp_path, 1, {"model": {"w": torch.arange(3)}}, {"a": [1, 2]})
    for file in sorted(path.iterdir()):
        content = file.read_bytes()
        for position in range(0, len(content), 3):
            flip(file, position)
            with pytest.raises(CheckpointDamaged):
                read_checkpoint(path)
            file.write_bytes(content)
    read_checkpoint(path)


def test_every_single_flipped_bit_of_a_manifest_is_damage_and_nothing_else(tmp_path):
    path = write_checkpoint(tmp_path, 1, {"model": {"w": torch.arange(3)}}, {})
    content = (path / "manifest.json").read_bytes()
    for bit in range(0, 8 * len(content), 3):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        (path / "manifest.json").write_bytes(flipped)
        with pytest.raises(CheckpointDamaged, match=r"is damaged: manifest\.json: ") as caught:
            read_manifest(path)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("bit", [0, 1, 2])
def test_a_flipped_version_is_no_other_version(folder, bit):
    manifest = folder / "step-00000100" / "manifest.json"
    position = manifest.read_bytes().index(b'"schema_version": ') + 18
    flip(manifest, position, 1 << bit)
    best, (error,) = newest_intact(folder)
    assert best == folder / "step-00000010" and "manifest.json: its checksum" in str(error)


def test_all_damaged_gives_none_and_every_reason(folder):
    for path in folder.iterdir():
        flip(path / "model.safetensors", 999)
    best, damaged = newest_intact(folder)
    assert best is None
    order = [str(error).split("step-")[1][:8] for error in damaged]
    assert order == ["00000100", "00000010", "00000009"]


def test_no_folder_has_no_checkpoint(tmp_path):
    assert newest_intact(tmp_path / "absent") == (None, [])


def test_an_absent_file_of_tensors_is_named(folder):
    with pytest.raises(CheckpointDamaged, match=r"ema\.safetensors: .*manifest"):
        read_checkpoint(folder / "step-00000100", only=["ema"])


def test_looks_whole_sees_missing_and_cut_files(folder):
    path = folder / "step-00000100"
    assert looks_whole(path)
    cut(path / "model.safetensors", 4000)
    assert not looks_whole(path)
    assert not looks_whole(folder / "absent")


def test_leftovers_of_a_killed_writer_are_ignored_and_then_cleaned(folder):
    half = folder / ".step-00000200.123.partial"
    shutil.copytree(folder / "step-00000100", half)  # all of it, but not renamed
    assert newest_intact(folder) == (folder / "step-00000100", [])
    assert half.exists()  # a reader must not clean up under a writer
    write(folder, 300)
    assert not half.exists()


@pytest.mark.parametrize("victim", ["save_file", "write_json", "sha256_of"])
@pytest.mark.parametrize("blow", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_failure_in_mid_write_leaves_all_as_it_was(folder, monkeypatch, victim, blow):
    before = files_of(folder)
    real, calls = getattr(write_module, victim), []

    def fail(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise blow
        return real(*args, **kwargs)

    monkeypatch.setattr(write_module, victim, fail)
    wanted = YxanulError if isinstance(blow, OSError) else KeyboardInterrupt
    for step in (100, 101):  # one that is there already, and a new one
        with pytest.raises(wanted) as caught:
            write(folder, step)
        if wanted is YxanulError:
            assert "No space left" in str(caught.value) and caught.value.hint
        calls.clear()
    assert files_of(folder) == before


@pytest.mark.parametrize("version", [-1, 0, layout.SCHEMA_VERSION + 1, 99])
def test_an_unknown_version_is_named_and_not_damage(folder, version):
    """Whoever runs an older yxanul on it must not lose the work by going back."""
    rewrite_manifest(folder / "step-00000100", schema_version=version)
    for read in (lambda: read_checkpoint(folder / "step-00000100"), lambda: newest_intact(folder)):
        with pytest.raises(YxanulError, match=f"another version of .* {version};") as caught:
            read()
        assert not isinstance(caught.value, CheckpointDamaged)
        assert caught.value.hint and len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("version", [None, True, "2", 2.0])
def test_a_version_that_is_no_number_is_damage(folder, version):
    rewrite_manifest(folder / "step-00000100", schema_version=version)
    with pytest.raises(CheckpointDamaged, match="no schema_version"):
        read_checkpoint(folder / "step-00000100")

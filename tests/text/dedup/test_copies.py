import numpy as np
import pytest

from yxanul.base.errors import YxanulError
from yxanul.text.dedup import copies as copies_module
from yxanul.text.dedup.config import DeduplicateSettings, NearSettings
from yxanul.text.dedup.copies import CopyCounts, read_copies, write_copies
from yxanul.text.dedup.fingerprints import write_fingerprints
from yxanul.text.documents import CAUSES

BOTH = DeduplicateSettings(near=NearSettings())


@pytest.fixture
def written(tmp_path):
    fingerprints = [tmp_path / "0.bin", tmp_path / "1.bin"]
    write_fingerprints(["a b c d e f g", "x", "x"], BOTH, fingerprints[0])
    write_fingerprints(["A b c d e f g", "y"], BOTH, fingerprints[1])
    return fingerprints


def test_a_file_for_each_part(tmp_path, written):
    paths = [tmp_path / "copies" / "0.npy", tmp_path / "copies" / "1.npy"]
    counts = write_copies(written, paths, BOTH, tmp_path / "scratch")
    assert counts == CopyCounts(documents=5, duplicates=1, near_duplicates=1)
    assert read_copies(paths[0]) == [None, None, "duplicate"]
    assert read_copies(paths[1]) == ["near_duplicate", None]
    assert {"duplicate", "near_duplicate"} <= set(CAUSES)


def test_scratch_is_emptied_first_and_deleted_in_the_end(tmp_path, written):
    scratch = tmp_path / "scratch"
    (scratch / "near").mkdir(parents=True)
    (scratch / "near" / "000000").write_bytes(b"left by a killed process")
    write_copies(written, [tmp_path / "0", tmp_path / "1"], BOTH, scratch)
    assert not scratch.exists()


def test_an_interruption_leaves_nothing_and_the_next_call_decides_the_same(
    tmp_path, written, monkeypatch
):
    paths = [tmp_path / "0", tmp_path / "1"]
    write_copies(written, paths, BOTH, tmp_path / "scratch")
    wanted = [path.read_bytes() for path in paths]
    for path in paths:
        path.unlink()

    checks = iter(range(3))

    def stop():
        if next(checks, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_copies(written, paths, BOTH, tmp_path / "scratch", stop)
    assert not (tmp_path / "scratch").exists()
    assert not any(path.exists() for path in paths)
    write_copies(written, paths, BOTH, tmp_path / "scratch")
    assert [path.read_bytes() for path in paths] == wanted


def test_too_many_documents(tmp_path, written, monkeypatch):
    monkeypatch.setattr(copies_module, "_MAX_DOCUMENTS", 4)
    with pytest.raises(YxanulError, match="too many documents"):
        write_copies(written, [tmp_path / "0"] * 2, BOTH, tmp_path / "scratch")


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"nothing", "codes", "shape"])
def test_a_damaged_file_is_an_error(tmp_path, content):
    path = tmp_path / "0.npy"
    if content == "codes":
        np.save(path, np.array([0, 3], np.uint8))
    elif content == "shape":
        np.save(path, np.zeros((2, 2), np.uint8))
    else:
        path.write_bytes(content)
    with pytest.raises(YxanulError, match="damaged"):
        read_copies(path)

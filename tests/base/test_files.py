import os
import subprocess
import sys

import pytest

from yxanul.base.errors import YxanulError
from yxanul.base.files import (
    atomic_file,
    atomic_folder,
    folder_lock,
    put_aside,
    read_json,
    remove_leftovers,
    sha256_of,
    write_json,
)

TAKE_LOCK = """
import sys
from pathlib import Path
from yxanul.base.errors import YxanulError
from yxanul.base.files import folder_lock
try:
    with folder_lock(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.readline()
except YxanulError as error:
    print(error)
"""


class Boom(Exception):
    pass


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_and_only_at_the_end(tmp_path):
    path = tmp_path / "sub" / "file"
    with atomic_file(path) as file:
        file.write(b"first")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"first"
    assert names(path.parent) == ["file"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(Boom), atomic_file(path) as file:
        file.write(b"half")
        raise Boom
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "folder"
    for content in ("one", "two"):
        with atomic_folder(path) as inside:
            (inside / content).write_text(content)
            assert content not in (names(path) if path.exists() else [])
        assert names(path) == [content]
        assert names(tmp_path) == ["folder"]


def test_a_failure_leaves_the_old_folder_and_nothing_else(tmp_path):
    path = tmp_path / "folder"
    for old in ([], ["old"]):
        if old:
            path.mkdir()
            (path / "old").write_text("old")
        with pytest.raises(Boom), atomic_folder(path) as inside:
            (inside / "new").write_text("half")
            raise Boom
        assert names(tmp_path) == (["folder"] if old else [])
    assert names(path) == ["old"]


def test_a_rename_that_fails_puts_the_old_folder_back(tmp_path, monkeypatch):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").write_text("old")
    rename = os.rename

    def fails_for_the_new_one(source, target):
        if str(source).endswith(".partial") and "replaced" not in str(source):
            raise OSError("no space")
        rename(source, target)

    monkeypatch.setattr("yxanul.base.files.os.rename", fails_for_the_new_one)
    with pytest.raises(OSError, match="no space"), atomic_folder(path) as inside:
        (inside / "new").write_text("new")
    assert names(path) == ["old"]
    assert names(tmp_path) == ["folder"]


def test_leftovers_of_a_killed_process_go_and_nothing_else(tmp_path):
    (tmp_path / ".a.123.partial").write_text("x")
    (tmp_path / ".b.123.partial").mkdir()
    (tmp_path / ".b.123.partial" / "inside").write_text("x")
    (tmp_path / ".lock").write_text("")
    (tmp_path / "a.partial").write_text("mine")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".lock", "a.partial"]


def test_what_was_put_aside_is_found_and_gets_its_name_back(tmp_path, monkeypatch):
    path = tmp_path / "a.b"
    path.mkdir()
    (path / "old").write_text("old")
    rename, blows = os.rename, iter([False, True, True])

    def fails_after_the_first(source, target):
        if next(blows):
            raise OSError("no space")
        rename(source, target)

    monkeypatch.setattr("yxanul.base.files.os.rename", fails_after_the_first)
    with pytest.raises(OSError, match="no space"), atomic_folder(path) as inside:
        (inside / "new").write_text("new")
    assert not path.exists()
    assert names(put_aside(tmp_path)["a.b"]) == ["old"]
    monkeypatch.undo()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["a.b"] and names(path) == ["old"]
    assert put_aside(tmp_path) == {}


def take_lock(folder, **pipes):
    command = [sys.executable, "-c", TAKE_LOCK, str(folder)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, **pipes)


def test_a_second_process_is_refused_and_told_who_holds_the_folder(tmp_path):
    with folder_lock(tmp_path / "new"):
        said, _ = take_lock(tmp_path / "new", stdin=subprocess.DEVNULL).communicate()
        assert "in use" in said
        assert f"got process {os.getpid()}" in said
        assert len(said.splitlines()) == 1
    said, _ = take_lock(tmp_path / "new", stdin=subprocess.DEVNULL).communicate()
    assert said == "held\n"


def test_a_killed_holder_frees_the_folder(tmp_path):
    holder = take_lock(tmp_path, stdin=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(YxanulError, match=f"process {holder.pid}"), folder_lock(tmp_path):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with folder_lock(tmp_path):
        pass


def test_json_comes_back_as_it_was(tmp_path):
    value = {"a": [1, 2.5, None, True], "ü": "→"}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value
    assert "→".encode() in (tmp_path / "x.json").read_bytes()
    assert names(tmp_path) == ["x.json"]


def test_what_json_cannot_hold_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "x.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", {"a": object()})
    assert read_json(tmp_path / "x.json") == 1


@pytest.mark.parametrize("content", [b"", b"{", b"{'a': 1}", b"[1]\n[2]", b'"\xff"'])
def test_broken_json_is_one_line(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(YxanulError, match=r"x\.json is not valid JSON") as caught:
        read_json(tmp_path / "x.json")
    assert "\n" not in str(caught.value)


def test_missing_json_is_one_line(tmp_path):
    with pytest.raises(YxanulError, match=r"x\.json is missing$"):
        read_json(tmp_path / "x.json")


def test_sha256_of_a_known_text(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(tmp_path / "abc") == known

import os
from pathlib import Path

import pytest

from yxanul.base.errors import YxanulError
from yxanul.text.sources.files import File, find_files
from yxanul.text.sources.reader import FILES_AS_PARTS, GROUP_BYTES, grouped


@pytest.fixture
def folder(tmp_path):
    for name in ("b.txt", "a.md", "sub/c.TXT", "sub/.hidden.txt", ".git/d.txt", "e.py", "f.txt.gz"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    return tmp_path


def names(*arguments):
    return [file.name for file in find_files(*arguments)]


def test_a_folder_is_read_with_its_folders_in_order(folder):
    assert names(str(folder), (".txt", ".md")) == ["a.md", "b.txt", "f.txt.gz", "sub/c.TXT"]


def test_a_file_and_a_glob_mean_what_they_name(folder):
    assert names(str(folder / "e.py"), (".txt",)) == ["e.py"]
    assert names(str(folder / "*.py"), (".txt",)) == ["e.py"]
    assert names(str(folder / "**" / "*.[tT]*"), ()) == ["b.txt", "f.txt.gz", "sub/c.TXT"]


def test_a_name_that_looks_like_a_glob_is_a_file(tmp_path):
    (tmp_path / "a[1].txt").write_text("x")
    assert names(str(tmp_path / "a[1].txt"), ()) == ["a[1].txt"]


def test_paths_start_here_and_at_home(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    assert names("sub", (".txt",)) == names("~/sub", (".txt",)) == ["c.TXT"]
    assert names("*.py", ()) == names("~/*.py", ()) == ["e.py"]


def test_what_is_not_there_is_an_error_with_the_near_miss(folder):
    with pytest.raises(YxanulError, match=r"'b\.txt'\?"):
        find_files(str(folder / "b.tx"), ())
    with pytest.raises(YxanulError, match="not exist either"):
        find_files(str(folder / "nowhere" / "b.txt"), ())
    with pytest.raises(YxanulError, match="no file matches"):
        find_files(str(folder / "*.xyz"), ())


def test_a_missing_relative_path_says_where_it_starts(folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(YxanulError, match=f"start at {folder}"):
        find_files("zzzz", ())


def test_a_folder_without_fitting_files_shows_what_is_there(folder):
    with pytest.raises(YxanulError, match=r"got a\.md.* and 2 more; expected.*\.parquet"):
        find_files(str(folder), (".parquet",))
    (folder / "empty").mkdir()
    with pytest.raises(YxanulError, match="got no file"):
        find_files(str(folder / "empty"), (".txt",))


def test_a_name_that_is_no_text_still_gives_a_name(tmp_path):
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")
    try:
        Path(odd).write_text("x")
    except OSError:
        pytest.skip("this file system wants names in UTF-8")
    (file,) = find_files(str(tmp_path), (".txt",))
    assert file.name == "caf\\xe9.txt"
    with file.open() as opened:
        assert opened.read() == b"x"


def files(count, size_bytes=10):
    return [File(f"{n:05d}.txt", "", size_bytes, "") for n in range(count)]


def test_gathering_keeps_every_file_in_order():
    groups = grouped(files(3000))
    assert [file for group in groups for file in group] == files(3000)
    assert 3 < len(groups) < 60


def test_a_new_file_changes_one_or_two_groups():
    before = files(3000)
    after = sorted([*before, File("01234b.txt", "", 10, "")], key=lambda file: file.name)
    old, new = map(tuple, grouped(before)), list(map(tuple, grouped(after)))
    assert len(set(new) - set(old)) <= 2


def test_large_files_are_not_gathered():
    assert len(grouped(files(FILES_AS_PARTS + 1, GROUP_BYTES // 2 + 1))) == FILES_AS_PARTS + 1

import tokenize
from pathlib import Path

import pytest

from yxanul.base.errors import YxanulError
from yxanul.text.sources.builtin import python_sources
from yxanul.text.sources.builtin.python_sources import MAX_CHARS, documents, modules, pieces


def test_modules_are_the_library_sorted_and_without_tests():
    folder = python_sources.library_folder()
    names = [path.relative_to(folder).as_posix() for path in modules()]
    assert names == sorted(names)
    assert {"argparse.py", "json/decoder.py", "asyncio/tasks.py"} <= set(names)
    assert len(names) > 300
    skipped = ("/test/", "/tests/", "/site-packages/", "/idlelib/", "/turtledemo/")
    assert not [name for name in names if any(part in f"/{name}" for part in skipped)]


def test_documents_join_to_the_file():
    for path in modules()[::9]:
        found = list(documents(path))
        with tokenize.open(path) as file:
            assert "".join(text for _, text in found) == file.read(), path
        assert [name for name, _ in found] == [str(n) for n in range(len(found))]
        assert all(0 < len(text) <= MAX_CHARS for _, text in found), path


def test_cuts_are_at_top_level_definitions():
    functions = [
        f"# about f{n}\n@cached\ndef f{n}():\n    return {n}\n\n\n" * 1 for n in range(400)
    ]
    source = '"""Head."""\n\n\n' + "".join(functions)
    cut = pieces(source)
    assert "".join(cut) == source
    assert len(cut) > 1
    assert max(map(len, cut)) <= MAX_CHARS
    assert min(map(len, cut[:-1])) > MAX_CHARS - 2 * len(functions[0])
    assert all(piece.startswith("# about f") for piece in cut[1:])


def test_a_long_class_is_cut_between_its_methods():
    methods = [f"    def f{n}(self):\n        return {n}\n\n" for n in range(500)]
    cut = pieces("class Long:\n" + "".join(methods))
    assert len(cut) > 1
    assert all(piece.startswith("    def f") for piece in cut[1:])


def test_long_lines_stay_whole_and_broken_sources_are_cut_at_lines():
    long = f"x = '{'a' * (2 * MAX_CHARS)}'\n"
    assert pieces("y = 1\n" + long + "z = 2\n") == ["y = 1\n", long, "z = 2\n"]
    broken = "this is ( not python\n" * 1000
    cut = pieces(broken)
    assert "".join(cut) == broken
    assert max(map(len, cut)) <= MAX_CHARS


def test_form_feeds_do_not_shift_the_cuts():
    source = "a = '\x0c'\n\x0c\n" + "".join(f"def f{n}():\n    pass\n\x0c\n" for n in range(900))
    cut = pieces(source)
    assert "".join(cut) == source
    assert all(piece.startswith("def f") for piece in cut[1:])


def test_empty_and_undecodable_files(tmp_path: Path):
    empty = tmp_path / "empty.py"
    empty.write_text("")
    assert list(documents(empty)) == []
    latin = tmp_path / "latin.py"
    latin.write_bytes("# -*- coding: latin-1 -*-\nname = 'é'\n".encode("latin-1"))
    assert "é" in next(documents(latin))[1]
    broken = tmp_path / "broken.py"
    broken.write_bytes(b"name = '\xe9'\n")
    with pytest.raises((UnicodeDecodeError, SyntaxError)):
        list(documents(broken))


def test_a_python_without_sources_says_so(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(python_sources, "library_folder", lambda: tmp_path)
    with pytest.raises(YxanulError, match="standard library"):
        modules()

"""The tour names files that exist, and its three tasks are as short as it says."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src" / "yxanul"
TOUR = (ROOT / "docs" / "tour.md").read_text()


def lines_of(file: str, name: str) -> int:
    """Return how many lines a function has."""
    nodes = ast.walk(ast.parse((SRC / file).read_text()))
    (found,) = (n for n in nodes if isinstance(n, ast.FunctionDef) and n.name == name)
    return found.end_lineno - found.lineno + 1


def test_every_path_exists():
    paths = re.findall(r"`((?:src/yxanul/|tests/)?[a-z_/]+(?:\.py|\.yaml|/))`", TOUR)
    assert len(paths) > 25
    folders = (ROOT, SRC, SRC / "recipes", SRC / "model" / "blocks", SRC / "model" / "attention")
    for path in set(paths) - {"config.py"}:  # each package has one
        assert any((folder / path).exists() for folder in folders), path


def test_the_loss_is_two_files_and_under_60_lines():
    assert lines_of("model/language_model.py", "loss") <= 6
    assert lines_of("model/loss.py", "rows_with_gradient") <= 20
    assert lines_of("model/loss.py", "linear_cross_entropy") <= 20


def test_the_mix_of_the_second_stage_is_one_line():
    (line,) = re.findall(r"^    mix: .*$", TOUR, re.MULTILINE)
    assert line in (SRC / "recipes" / "quickstart.yaml").read_text().splitlines()

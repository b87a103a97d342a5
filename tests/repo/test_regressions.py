"""Every known mistake names tests, and every test that is named exists."""

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROWS = re.findall(
    r"^\| (\d+) \| .+? \| (.+?) \|$", (TESTS.parent / "docs/regressions.md").read_text(), re.M
)


def test_every_mistake_is_guarded():
    assert [int(number) for number, _ in ROWS] == list(range(1, 23))
    for number, named in ROWS:
        tests = re.findall(r"`([\w/.-]+)::(\w+)`", named)
        assert tests, f"no test for mistake {number}"
        assert ", ".join(f"`{file}::{name}`" for file, name in tests) == named
        for file, name in tests:
            assert f"def {name}(" in (TESTS / file).read_text(), f"{file}::{name}"

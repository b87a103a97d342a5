"""The judge of names: what it calls a story that keeps them, and a run that it reads."""

import pytest

from names import keeps_names
from recipes import write_tiny
from running import call
from yxanul.text.sources.builtin import stories

ALONE = "Once upon a time, there was a little girl named Mia. Mia sang."
INTRODUCED = 'Her friend Tom came by. "I am Mia," said Mia. "And I am Tom," Tom said.'


def test_the_synthetic_text_keeps_its_names():
    assert all(keeps_names(stories.document(n, 5)) for n in range(2000))


@pytest.mark.parametrize(
    ("story", "kept"),
    [
        (ALONE, True),
        (f"{ALONE} {INTRODUCED}", True),
        (f"{ALONE} Her best friend was Tom. Mia and Tom ran home.", True),
        (f"{ALONE} His best friend, Tom, sang too.", True),
        (f"{ALONE} Tom came by. His friend Tom sang too.", False),
        (f"{ALONE} Tom sang too.", False),
        (f"{ALONE} {INTRODUCED} Ben smiled.", False),
        (f"{ALONE} {INTRODUCED} His friend Ben smiled.", False),
        ("Once upon a time, there was a girl. She sang.", False),
        ("", False),
    ],
)
def test_names_that_stay_and_names_that_change(story, kept):
    assert keeps_names(story) is kept


@pytest.mark.slow
def test_a_run_is_judged(tmp_path, benchmark_results):
    recipe = write_tiny(tmp_path)
    assert call("run", str(recipe), "--out", str(tmp_path / "run")).code == 0
    found = benchmark_results("names.py", str(tmp_path / "run"), "--samples", "3")["texts"]
    assert found["synthetic text"]["keep their names"] == found["synthetic text"]["stories"]
    judged = found[str(tmp_path / "run")]
    assert judged["stories"] == 3
    assert judged["keep their names"] + len(judged["mixed"]) == 3
    assert all(story.startswith("Once upon a time") for story in judged["mixed"])

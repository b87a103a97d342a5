"""The figures at the end of a run."""

import json
import lzma
import random

import pytest

from recipes import TINY, write_tiny
from running import call


def size(text):
    return len(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))


def test_xz_may_know_the_training_text_too(tmp_path):
    draw = random.Random(3)
    words = ["".join(draw.choices("abcdefghij", k=9)) for _ in range(60)]
    texts = [" ".join(draw.choices(words, k=40)) for _ in range(200)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    own = TINY.replace(
        "{kind: builtin, domain: stories, documents: 120}",
        f"{{kind: jsonl, path: {tmp_path}/mine.jsonl}}",
    )
    said = call("run", write_tiny(tmp_path, own), "--out", tmp_path / "run", "--json")
    assert said.code == 0, said.err
    held_out = json.loads(said.out)["held_out"]
    assert held_out["math"]["xz_after_training_bits_per_byte"] is None  # synthetic
    held = (tmp_path / "run/data/stories/held-out.txt").read_text()
    known = "\n\n".join(text for text in texts if text not in held)
    after = 8 * (size(known + held) - size(known)) / len(held)
    found = held_out["stories"]
    assert found["xz_after_training_bits_per_byte"] == pytest.approx(after, rel=0.1)
    assert after < 0.8 * found["xz_bits_per_byte"]

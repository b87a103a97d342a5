"""The way from the command to the first step is short, and the rooms are not crowded."""

import traceback

from recipes import write_tiny
from repo.test_layers import SRC
from running import call
from yxanul.train.trainer import Trainer


def test_four_files_lead_to_the_first_step(tmp_path, monkeypatch):
    files = {str(SRC / "cli" / "entry.py")}

    def step(trainer):
        frames = traceback.walk_stack(None)
        files.update(frame.f_code.co_filename for frame, _ in frames)
        raise SystemExit(0)

    monkeypatch.setattr(Trainer, "step", step)
    call("run", write_tiny(tmp_path), "--out", tmp_path / "run")
    found = [file for file in files if file.startswith(str(SRC))]
    assert 1 < len(found) <= 4, found


def test_stages_has_at_most_sixteen_files():
    assert len(list((SRC / "stages").glob("*.py"))) <= 16

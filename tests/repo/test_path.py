"""The way from the command to the first step is short, and the rooms are not crowded."""

import subprocess
import sys

from recipes import write_tiny
from repo.test_layers import SRC

FIRST_STEP = """
import sys, traceback
from yxanul.cli.entry import main
from yxanul.train.trainer import Trainer

def step(self):
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_stack(None)]
    print("files", *dict.fromkeys(file for file in files if "yxanul" in file), flush=True)
    raise SystemExit(0)

Trainer.step = step
sys.argv = ["yxanul", "run", *sys.argv[1:]]
main()
"""


def test_four_files_lead_to_the_first_step(tmp_path):
    recipe = write_tiny(tmp_path)
    command = [sys.executable, "-c", FIRST_STEP, str(recipe), "--out", str(tmp_path / "run")]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    (line,) = (line for line in said.stdout.splitlines() if line.startswith("files "))
    files = [file for file in line.split()[1:] if file.startswith(str(SRC))]
    assert len(files) <= 4, files


def test_stages_has_at_most_sixteen_files():
    assert len(list((SRC / "stages").glob("*.py"))) <= 16

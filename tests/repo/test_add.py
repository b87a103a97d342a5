"""The pages of docs/add, followed."""

import json
import os
import shutil
import subprocess
import sys

from recipes import write_tiny
from repo.test_layers import SRC

SIGNED = """
import torch

from yxanul.optim.base import GroupwiseOptimizer


class Signed(GroupwiseOptimizer):
    def __init__(self, groups):
        super().__init__(groups, {})

    def _step(self, params, grads, group):
        for param, grad in zip(params, grads):
            param.sub_(grad.sign(), alpha=group["lr"])


def build(groups, settings):
    return Signed(groups)
"""


def test_an_optimizer_is_one_file_and_one_row(tmp_path):
    shutil.copytree(SRC, tmp_path / "yxanul", ignore=shutil.ignore_patterns("__pycache__"))
    optim = tmp_path / "yxanul" / "optim"
    (optim / "signed.py").write_text(SIGNED)
    table = (optim / "table.py").read_text()
    row = 'OPTIMIZERS = {\n    "signed": OptimizerRow(0, rate_factor=0.1),'
    (optim / "table.py").write_text(table.replace("OPTIMIZERS = {", row, 1))
    recipe = write_tiny(tmp_path)
    said = subprocess.run(
        [sys.executable, "-m", "yxanul", "run", recipe, "optim.name=signed", "--out", "run"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    stages = json.loads((tmp_path / "run" / "ledger.json").read_text())["stages"]
    assert [stage["status"] for stage in stages] == ["passed", "passed"]

import subprocess
import sys


def test_settings_and_schedules_load_without_torch():
    code = "import sys, yxanul.optim, yxanul.optim.schedules; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "False", result.stderr


STEPS = """
import sys, torch
from yxanul.optim.config import OptimSettings
from yxanul.optim.groups import build_optimizer
from yxanul.optim.table import OPTIMIZERS
for name in OPTIMIZERS:
    weight = torch.nn.Parameter(torch.ones(3, 4))
    optimizer = build_optimizer([("w", weight)], {"w": "matrix"}, OptimSettings(name=name))
    weight.grad = torch.ones(3, 4)
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
print('torch._dynamo' in sys.modules)
"""


def test_updates_do_not_load_the_compiler():
    """It takes a second or more, and with `compile: false` nothing needs it."""
    result = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True)
    assert result.stdout.strip() == "False", result.stderr

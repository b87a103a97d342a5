import subprocess
import sys


def test_settings_and_schedules_load_without_torch():
    code = "import sys, yxanul.optim, yxanul.optim.schedules; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "False", result.stderr

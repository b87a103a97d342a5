"""Signals at the start of any verb: an exit code, and nothing said."""

import signal
import subprocess
import sys

import pytest

DURING_IMPORT = """
import os, sys, yxanul.cli
class Finder:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Finder())
yxanul.cli.main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("module", ["yxanul.cli.app", "yxanul.recipe"])
def test_a_signal_during_an_import_is_an_exit_code(tmp_path, module, number, code):
    program = DURING_IMPORT.format(module=module, number=int(number))
    said = subprocess.run(
        [sys.executable, "-c", program, "show", "quickstart"], capture_output=True, cwd=tmp_path
    )
    assert (said.returncode, said.stdout, said.stderr) == (code, b"", b"")
    assert not list(tmp_path.iterdir())

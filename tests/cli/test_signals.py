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


WITH_A_THREAD_IN_A_LIBRARY = """
import os, signal, time
import tokenizers, yxanul.cli
from yxanul.base.interrupt import StopRequest
from yxanul.cli import entry
from yxanul.tokenizer.train_bpe import learn_bpe

class Late:
    def __del__(self, sleep=time.sleep):
        sleep(1)  # Python ends slowly

def endless():
    os.kill(os.getpid(), {number})
    while True:  # with the library below it
        time.sleep(0.001)
    yield ""

def verb():
    with StopRequest().handled():
        learn_bpe(tokenizers.Tokenizer(tokenizers.models.BPE()), endless(), 300)

time.late = Late()
entry.run_verb = verb
yxanul.cli.main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_thread_that_a_library_holds_does_not_abort_the_process(number, code):
    program = WITH_A_THREAD_IN_A_LIBRARY.format(number=int(number))
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (said.returncode, said.stderr) == (
        code,
        "yxanul: stopped; run the same command to resume\n",
    )

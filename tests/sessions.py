"""Runs by way of their session, in this process and without the command line."""

from steps import same
from yxanul.base.errors import Interrupted
from yxanul.base.interrupt import StopRequest
from yxanul.base.run_folder import RunFolder
from yxanul.base.ui import SilentUi
from yxanul.checkpoint.layout import checkpoint_path, checkpoint_steps
from yxanul.checkpoint.read import read_checkpoint
from yxanul.stages.data import prepare
from yxanul.stages.resume import reconcile_recipe
from yxanul.stages.runner import run_stages
from yxanul.stages.session import build_session


class RecordingUi(SilentUi):
    """Keeps all lines that it is told, and warnings by themselves, too."""

    def __init__(self):
        self.lines, self.warnings = [], []

    def say(self, line):
        self.lines.append(line)

    def warn(self, line):
        self.lines.append(line)
        self.warnings.append(line)


def open_session(recipe, folder, ui=None, stop=None):
    """Return the session of a run whose text is prepared; close it after use."""
    run, ui = RunFolder(folder), ui or SilentUi()
    reconcile_recipe(run, recipe, ui)
    prepare(run, recipe, ui)
    return build_session(run, recipe, ui, stop or StopRequest())


def train(recipe, folder, steps=None, ui=None):
    """Train in a folder, to the end or so many steps; return the session, which is closed."""
    session = open_session(recipe, folder, ui)
    if steps is not None:
        session.stop.after_step = session.progress.step + steps
    try:
        run_stages(session)
    except Interrupted:
        assert steps is not None
    finally:
        session.close()
    return session


def tensors_of(run, step=None):
    """Return {file: {name: tensor}} of the checkpoint of a step, or of the newest one."""
    steps = checkpoint_steps(run.checkpoints)
    return read_checkpoint(checkpoint_path(run.checkpoints, step or steps[-1]))[0]


def assert_same_tensors(one, other):
    """Two checkpoints hold the same, to the bit."""
    assert one.keys() == other.keys()
    for file, tensors in one.items():
        assert same(tensors, other[file]), file

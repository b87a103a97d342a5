"""Training that begins before all text is encoded sees what it would have seen afterwards."""

import shutil
import signal
import threading

import pytest

from recipes import TINY, write_tiny
from running import wait_until
from sessions import RecordingUi, tensors_of, train
from steps import same
from yxanul.base.errors import Interrupted, YxanulError
from yxanul.base.interrupt import StopRequest
from yxanul.base.run_folder import RunFolder
from yxanul.base.ui import SilentUi
from yxanul.checkpoint.layout import checkpoint_steps
from yxanul.recipe import load_recipe
from yxanul.stages import data as early_text
from yxanul.stages.data import Preparation, starts_early
from yxanul.stages.resume import reconcile_recipe
from yxanul.stages.runner import run_stages
from yxanul.stages.session import build_session
from yxanul.text.dedup.config import DeduplicateSettings
from yxanul.text.filters.config import LengthFilterSettings

PARTS = 4
FILTER = """
import pathlib, time, zlib
folder = pathlib.Path(__file__).parent
seen = []

def score(texts):
    (folder / "begun").touch()
    seen.extend(texts)
    while len(seen) > FREE and not (folder / "go").exists():
        time.sleep(0.005)
    return [float(zlib.crc32(text.encode()) % 20 == 0) for text in texts]
"""
"""Keeps one text in twenty; after so many, it waits until it may go on."""
ONE_PART = FILTER.replace("FREE", "1000")
NOTHING = FILTER.replace("FREE", "0")
BREAKS = ONE_PART.replace("    return", "    assert len(seen) <= 2000\n    return")
TOO_LONG = (LengthFilterSettings(min_chars=1_000_000),)
ONE_STAGE = TINY[: TINY.index("  - name: two")] + TINY[TINY.index("eval:") :]


@pytest.fixture
def recipe(tmp_path):
    """Four parts, of which one is there at first; a group is one part."""
    (tmp_path / "filter.py").write_text(ONE_PART)
    filters = f"[{{kind: quality, function: '{tmp_path}/filter.py:score', at_least: 0.5}}]"
    overrides = [
        f"data.sources.stories.documents={1000 * PARTS}",
        f"data.sources.stories.filters={filters}",
        "data.shuffle_tokens=1000",
    ]
    return load_recipe(str(write_tiny(tmp_path, ONE_STAGE)), overrides)


@pytest.fixture
def then(tmp_path):
    """A function that does something in a thread, once a condition holds; the filter goes on
    when the test ends, whatever came of it."""
    threads = []

    def start(condition, action):
        threads.append(threading.Thread(target=lambda: wait_until(condition) and action()))
        threads[-1].start()

    yield start
    (tmp_path / "go").touch()
    threads += [thread for thread in threading.enumerate() if thread.name == "prepare"]
    for thread in threads:
        thread.join()


def train_early(run, recipe, preparation, stop=None):
    session = build_session(run, recipe, SilentUi(), stop or StopRequest(), preparation)
    try:
        run_stages(session)
    finally:
        session.tracker.close()
    return session


def test_early_training_equals_late_training(recipe, tmp_path, then):
    early, late = RunFolder(tmp_path / "early"), RunFolder(tmp_path / "late")
    reconcile_recipe(early, recipe, SilentUi())
    with Preparation(early, recipe, SilentUi(), StopRequest()) as preparation:
        assert preparation.wait_for_start()
        parts = len(list((early.path / "data/stories/parts").glob("*.json")))
        assert 0 < parts < PARTS
        then(early.metrics.exists, (tmp_path / "go").touch)
        session = train_early(early, recipe, preparation)
        assert session.data.is_whole, "the gate waits for all held-out text"
    shutil.copytree(early.path / "data", late.path / "data")
    train(recipe, late.path)
    one, other = (tensors_of(run)["model"] for run in (early, late))
    assert same(one, other)
    scores = [run.ledger.read_text().partition('"at_end"')[2] for run in (early, late)]
    assert scores[0] == scores[1] != ""


def test_what_goes_wrong_beside_ends_the_training(recipe, tmp_path, then):
    """A part that cannot be encoded is an error even if training never comes to it."""
    run, ui = RunFolder(tmp_path / "run"), RecordingUi()
    (tmp_path / "filter.py").write_text(BREAKS)
    reconcile_recipe(run, recipe, SilentUi())
    then(run.metrics.exists, (tmp_path / "go").touch)
    with (
        pytest.raises(YxanulError, match="quality"),
        Preparation(run, recipe, ui, StopRequest()) as preparation,
    ):
        assert preparation.wait_for_start()
        train_early(run, recipe, preparation)
    (line,) = ui.warnings
    assert "quality" in line and "training continues" in line


def test_a_stop_while_it_waits_for_text_is_saved(recipe, tmp_path, then, monkeypatch):
    run, stop, wait = RunFolder(tmp_path / "run"), StopRequest(), Preparation.wait

    def asked(preparation):
        if run.metrics.exists():
            stop.signal_number = signal.SIGTERM
        wait(preparation)

    monkeypatch.setattr(Preparation, "wait", asked)
    longer = recipe.model_copy(
        update={"stages": (recipe.stages[0].model_copy(update={"budget": budget(tokens=50_000)}),)}
    )
    reconcile_recipe(run, longer, SilentUi())
    with (
        pytest.raises(Interrupted, match="waiting for text"),
        Preparation(run, longer, SilentUi(), stop) as preparation,
    ):
        assert preparation.wait_for_start()
        train_early(run, longer, preparation, stop)
    assert checkpoint_steps(run.checkpoints)


def test_text_that_is_all_left_out_is_one_clear_line(recipe, tmp_path):
    """Its parts are there before the work has ended, and hold nothing to begin with."""
    stories = recipe.data.sources["stories"].model_copy(update={"filters": TOO_LONG})
    data = recipe.data.model_copy(update={"sources": {"stories": stories}})
    nothing = recipe.model_copy(update={"data": data})
    assert starts_early(nothing)
    ui = RecordingUi()
    with (
        pytest.raises(YxanulError, match=r"'stories' .*too_short"),
        Preparation(RunFolder(tmp_path / "run"), nothing, ui, StopRequest()) as preparation,
    ):
        preparation.wait_for_start()
    assert ui.warnings == [], "the error says it, and no training goes on"


def test_what_went_wrong_before_training_is_raised_when_it_may_begin(recipe, tmp_path, monkeypatch):
    """The error may come after the last look at it, and before training begins."""
    ui = RecordingUi()
    nobody = Preparation(RunFolder(tmp_path / "run"), recipe, ui, StopRequest())
    nobody._fail(YxanulError("no room"))
    monkeypatch.setattr(Preparation, "shards", lambda *_: {})
    monkeypatch.setattr(Preparation, "is_done", False)
    with pytest.raises(YxanulError, match="no room"):
        nobody.wait_for_start()
    assert ui.warnings == []


@pytest.mark.parametrize(("parts", "copies"), [(1, None), (PARTS, DeduplicateSettings())])
def test_a_stop_waits_neither_for_a_part_nor_for_a_look_for_copies(
    recipe, tmp_path, monkeypatch, then, parts, copies
):
    """A single part is read in this process; copies are looked for before any part is encoded."""
    monkeypatch.setattr(early_text, "_CANCEL_SECONDS", 0.5)
    (tmp_path / "filter.py").write_text(NOTHING)
    stories = recipe.data.sources["stories"].model_copy(update={"documents": 1000 * parts})
    update = {"sources": {"stories": stories}, "deduplicate": copies, "workers": 1}
    longer = recipe.model_copy(update={"data": recipe.data.model_copy(update=update)})
    stop = StopRequest()
    then((tmp_path / "begun").exists, lambda: setattr(stop, "signal_number", signal.SIGINT))
    with (
        pytest.raises(Interrupted),
        Preparation(RunFolder(tmp_path / "run"), longer, SilentUi(), stop) as preparation,
    ):
        preparation.wait_for_start()


def budget(**values):
    from yxanul.stages.config import Budget

    return Budget.model_validate(values)


def test_budgets_that_need_all_text_wait_for_it(recipe):
    assert starts_early(recipe)
    for other in (budget(epochs=1), budget(minutes=1)):
        stage = recipe.stages[0].model_copy(update={"budget": other})
        assert not starts_early(recipe.model_copy(update={"stages": (stage,)}))
    data = recipe.data.model_copy(update={"overlap_prepare": False})
    assert not starts_early(recipe.model_copy(update={"data": data}))

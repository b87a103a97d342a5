"""Text on its way into shards while a stage trains on those that are there."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from yxanul.base.cache import is_address
from yxanul.base.errors import YxanulError
from yxanul.base.interrupt import StopRequest
from yxanul.base.run_folder import RunFolder
from yxanul.base.ui import Task, Ui
from yxanul.data.encode import Beside
from yxanul.data.growing import GrowingShards
from yxanul.data.manifest import Split
from yxanul.data.order import SourceOrder, first_order
from yxanul.data.report import CorpusReport
from yxanul.data.shards import Shards
from yxanul.recipe import Recipe
from yxanul.stages.corpus import check_header, encode, make_tokenizer, used_sources
from yxanul.tokenizer.tokenizer import Tokenizer

_LOOK_SECONDS = 0.1
_CANCEL_SECONDS = 3.0
_SAY_SECONDS = 30.0
_MOST_LOOKS_IN_VAIN = 50


@contextlib.contextmanager
def begin(run: RunFolder, recipe: Recipe, ui: Ui, stop: StopRequest) -> Iterator[Preparation]:
    """Make the tokenizer of a run, and give what makes its shards meanwhile. Leaving the block ends
    the work."""
    tokenizer = make_tokenizer(run, recipe, ui)
    preparation = Preparation(run, recipe, tokenizer, ui, stop)
    preparation.start()
    try:
        yield preparation
    finally:
        preparation.cancel()


def tell(report: CorpusReport, ui: Ui) -> None:
    """Say in a line what became of each source."""
    for name, one in report.sources.items():
        documents, tokens = sum(one.documents.values()), sum(one.tokens.values())
        left_out = ", ".join(f"{count:,} {cause}" for cause, count in one.dropped.items())
        end = f"; left out: {left_out}" if left_out else ""
        ui.say(f"{name}: {documents:,} documents, {tokens:,} tokens{end}")


def starts_early(recipe: Recipe) -> bool:
    """Tell whether the first stage can begin before all text is encoded; one that starts from
    weights scores all held-out text first, as later stages do."""
    bounded = any(recipe.data.sources[name].max_epochs for name in used_sources(recipe))
    known = not recipe.stages[0].budget.needs_all_text and recipe.eval.max_tokens is not None
    known = known and recipe.model.init_from is None
    elsewhere = is_address(recipe.data.folder or "")
    return recipe.data.overlap_prepare and known and not bounded and not elsewhere


class Preparation:
    """Encodes the text of a run in worker processes, told by a thread of this one."""

    def __init__(
        self, run: RunFolder, recipe: Recipe, tokenizer: Tokenizer, ui: Ui, stop: StopRequest
    ) -> None:
        self._run, self._recipe, self._tokenizer = run, recipe, tokenizer
        self._ui, self._stop = ui, stop
        self._planned, self._cancelled = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self._is_training, self._lock = False, threading.Lock()
        self._looks_in_vain = 0
        self._thread = threading.Thread(target=self._work, name="prepare", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether all text is encoded; what went wrong is raised here."""
        if self._thread.is_alive():
            return False
        if self._error is not None:
            raise self._error
        return True

    def wait(self) -> None:
        """Pass some time while more text is encoded."""
        self._stop.raise_if_asked(
            "stopped while it waited for text; what is there is saved",
            hint="the same command goes on from there",
        )
        if self.is_done:
            self._looks_in_vain += 1
            if self._looks_in_vain > _MOST_LOOKS_IN_VAIN:
                raise YxanulError(
                    "a part of the text is gone that was encoded",
                    hint="something else changes the folder of the shards; run the command again",
                )
        time.sleep(_LOOK_SECONDS)

    def finish(self) -> None:
        """Wait until all text is encoded."""
        while not self.is_done:
            self.wait()

    def cancel(self) -> None:
        """End the work where it is; the next call goes on with what is missing.

        What cannot be ended soon, such as a part that is read in this process, is not waited for:
        its thread dies with the process, and its files are whole or not there.
        """
        self._cancelled.set()
        self._thread.join(_CANCEL_SECONDS)

    def shards(self, split: Split) -> dict[str, GrowingShards]:
        """Return the sources that a stage uses, whose parts are waited for as they are read."""
        while not self._planned.is_set():
            self.wait()
        folder = self._run.data(self._recipe.data.folder)
        opened: dict[str, GrowingShards] = {}
        for name in used_sources(self._recipe):
            opened[name] = GrowingShards(folder / name, split, self.wait)
            header = opened[name].outline.header
            check_header(header, folder, name, self._recipe, self._tokenizer)
        return opened

    def first_held_out(self) -> dict[str, Shards]:
        """Return the held-out text that is scored during training, as soon as it is there."""
        recipe, tokens = self._recipe, self._recipe.eval.max_tokens
        assert tokens is not None
        first: dict[str, Shards] = {}
        for name, one in self.shards("validation").items():
            order = first_order(one.num_parts, recipe.seed, name).tolist()
            first[name] = one.first_held_out(order, recipe.data.shuffle_tokens, tokens)
        return first

    def wait_for_start(self) -> bool:
        """Wait until training can begin: the first group of every source's parts, and the
        held-out text that is scored during training, are there; or all text, where the recipe
        needs it. Say whether more is to come; from now on, what goes wrong is said at once."""
        if not starts_early(self._recipe):
            self.finish()
            return False
        for shards in self.shards("train").values():
            order = SourceOrder(shards, self._recipe.seed, self._recipe.data.shuffle_tokens)
            if order.is_empty:
                self.finish()  # it ends by saying what became of the text
        if not all(shards.num_tokens for shards in self.first_held_out().values()):
            self.finish()
        if self.is_done:
            return False
        with self._lock:
            self._is_training = True
        if self._error is not None:
            raise self._error
        self._ui.say("there is enough text to start with; the rest is encoded beside the training")
        return True

    def _work(self) -> None:
        beside = Beside(self._planned.set, self._check, process_is_busy=True)
        ui = _BackgroundUi(self._ui) if starts_early(self._recipe) else self._ui
        try:
            tell(encode(self._run, self._recipe, self._tokenizer, ui, beside), self._ui)
        except _Cancelled:
            pass
        except OSError as error:
            folder = self._run.data(self._recipe.data.folder)
            self._fail(YxanulError(f"text cannot be encoded into {folder}", found=error.strerror))
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Keep an error for whoever waits for text; training may come late: it is told at once."""
        with self._lock:
            self._error = error
            is_training = self._is_training
        if is_training:
            self._ui.warn(f"{error}; training goes on with the text that is there")

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise _Cancelled


class _Cancelled(Exception):
    """The training beside has ended."""


class _BackgroundUi:
    """Says now and then how far the work is; the bar belongs to the training."""

    def __init__(self, ui: Ui) -> None:
        self.say, self.warn = ui.say, ui.warn

    @contextlib.contextmanager
    def task(self, title: str, total: float, unit: str) -> Iterator[Task]:
        """Say a line every half minute, and one at the end."""
        task = _BackgroundTask(self, title, total)
        yield task
        self.say(f"{title}: done")


class _BackgroundTask:
    def __init__(self, ui: _BackgroundUi, title: str, total: float) -> None:
        self._ui, self._title, self._total = ui, title, total
        self._done, self._said = 0.0, time.monotonic()

    def expect(self, total: float) -> None:
        self._total = total

    def advance(self, amount: float, note: str = "") -> None:
        self._done += amount
        if time.monotonic() - self._said >= _SAY_SECONDS:
            self._said = time.monotonic()
            share = self._done / max(self._total, 1)
            self._ui.say(f"{self._title}: {share:.0%}, {note}")

"""Data of a run: preparing its shards, up front or during training, and opening them."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from yxanul.base.cache import is_address
from yxanul.base.errors import YxanulError
from yxanul.base.files import expand_home
from yxanul.base.interrupt import StopRequest
from yxanul.base.run_folder import RunFolder
from yxanul.base.seeds import derive_seed
from yxanul.base.ui import LineUi, Ui
from yxanul.data.contamination import comparison_digest
from yxanul.data.encode import PrepareHooks, prepare_corpus
from yxanul.data.fetch import fetch_shards
from yxanul.data.manifest import Header, Manifest, Split, read_manifest
from yxanul.data.order import ShardSet, TokenStream, first_order
from yxanul.data.plan import make_header
from yxanul.data.shards import PartialShards, Shards, sampled_parts
from yxanul.data.texts import training_texts
from yxanul.recipe import Recipe
from yxanul.tokenizer.build import build_tokenizer
from yxanul.tokenizer.tokenizer import Tokenizer

AGAIN = "run `yxanul prepare` (or `yxanul run`) with this recipe again"
_LEAVE_OUT = "leave out the tokenizer section (tokenizer=null)"


def prepare(run: RunFolder, recipe: Recipe, ui: Ui) -> dict[str, Manifest]:
    """Create a run's tokenizer and shards; finished work of an interrupted call is kept."""
    tokenizer, folder = make_tokenizer(run, recipe, ui), run.data(recipe.data.folder)
    return prepare_corpus(recipe.data, tokenizer, folder, ui, seed=recipe.seed)


def make_tokenizer(run: RunFolder, recipe: Recipe, ui: Ui) -> Tokenizer:
    """Return the run's tokenizer, creating it if needed."""
    if recipe.model.init_from is not None and not run.has_begun:
        take_tokenizer(run, recipe, ui)
    elif recipe.tokenizer is not None and not run.tokenizer.exists():
        tokenizer = build_tokenizer(recipe.tokenizer, lambda: training_texts(recipe.data), ui)
        tokenizer.save(run.tokenizer)
        ui.say(f"tokenizer: {recipe.tokenizer.kind}, {tokenizer.vocab_size:,} tokens")
    return load_tokenizer(run, recipe)


def take_tokenizer(run: RunFolder, recipe: Recipe, ui: Ui) -> None:
    """Copy the tokenizer of `model.init_from` into a run that has no checkpoint yet."""
    from yxanul.bundle import read_tokenizer  # imports torch

    folder = initial_folder(recipe)
    theirs = read_tokenizer(folder)
    if recipe.tokenizer is not None:
        own = build_tokenizer(recipe.tokenizer, lambda: training_texts(recipe.data), ui)
        if own.digest != theirs.digest:
            whose = f"the recipe's (kind {recipe.tokenizer.kind})"
            raise other_tokenizer(folder, whose, own, theirs, _LEAVE_OUT)
    if not run.tokenizer.exists() or Tokenizer.load(run.tokenizer).digest != theirs.digest:
        theirs.save(run.tokenizer)
        ui.say(f"tokenizer: from {folder}, {theirs.vocab_size:,} tokens")


def initial_folder(recipe: Recipe) -> Path:
    """Return the folder of `model.init_from`."""
    assert recipe.model.init_from is not None
    return expand_home(recipe.model.init_from)


def other_tokenizer(
    folder: Path, whose: str, got: Tokenizer, expected: Tokenizer, hint: str
) -> YxanulError:
    """Return the error for a tokenizer that does not belong to the initial weights."""
    return YxanulError(
        f"tokenizer: {whose} does not match the weights in {folder}",
        got=f"{got.vocab_size:,} tokens ({got.digest[:12]})",
        expected=f"{expected.vocab_size:,} tokens ({expected.digest[:12]})",
        hint=hint,
    )


def check_tokenizer(run: RunFolder) -> None:
    """Raise unless the run has its tokenizer."""
    if not run.tokenizer.exists():
        raise YxanulError(
            f"{run.path} has no tokenizer yet",
            hint="run `yxanul prepare` with the same arguments first, or use `yxanul run`",
        )


def load_tokenizer(run: RunFolder, recipe: Recipe) -> Tokenizer:
    """Return the tokenizer of a prepared run; pretrained weights may have more ids than it."""
    check_tokenizer(run)
    num_ids = recipe.model.vocab_size if recipe.model.init_from is not None else None
    return Tokenizer.load(run.tokenizer, num_ids=num_ids or 0)


def used_sources(recipe: Recipe) -> list[str]:
    """Return the sources that any stage uses."""
    return sorted({name for stage in recipe.stages for name in stage.domains()})


def open_shards(
    run: RunFolder, recipe: Recipe, split: Split, tokenizer: Tokenizer, ui: Ui
) -> dict[str, Shards]:
    """Open the shards of every used source; raise YxanulError if some are missing. Remote shards
    are copied to the cache first."""
    folder = run.data(recipe.data.folder)
    manifests = _manifests(run, recipe, [split], tokenizer, ui)
    return {name: Shards(folder / name, manifest, split) for name, manifest in manifests.items()}


def text_tokens(run: RunFolder, recipe: Recipe, ui: Ui) -> float:
    """Return the training tokens of all used sources; inf unless all are encoded."""
    try:
        manifests = _manifests(run, recipe, [], load_tokenizer(run, recipe), ui)
    except YxanulError:
        return math.inf
    return sum(manifest.splits["train"].tokens for manifest in manifests.values())


def _manifests(
    run: RunFolder, recipe: Recipe, splits: Sequence[Split], tokenizer: Tokenizer, ui: Ui
) -> dict[str, Manifest]:
    """Return the manifest of every used source; remote shards of `splits` are copied first."""
    folder, address = run.data(recipe.data.folder), recipe.data.folder
    if address is not None and is_address(address):
        fetch_shards(address, ui, used_sources(recipe), splits)
    manifests: dict[str, Manifest] = {}
    for name in used_sources(recipe):
        manifests[name] = read_manifest(folder / name)
        check_header(manifests[name].header, folder, name, recipe, tokenizer)
    return manifests


@dataclass(frozen=True)
class Sample:
    """Held-out documents of a source that are scored during training."""

    shards: Shards
    documents: list[int] | None
    """None means all."""


def draw_sample(shards: Shards, recipe: Recipe) -> Sample:
    """Draw documents with at most `eval.max_tokens` in total, but at least one; all if it is null.

    While text is being encoded, `shards` holds only the shards chosen by `sampled_parts`; from
    complete shards the same ones are chosen here, so that the sample is the same in both cases.
    """
    tokens = recipe.eval.max_tokens
    if tokens is None:
        return Sample(shards, None)
    splits = shards.manifest.splits
    order = first_order(shards.num_parts, recipe.seed, shards.source).tolist()
    chosen = sampled_parts(
        order,
        lambda number, split: splits[split].shards[number].tokens,
        recipe.data.shuffle_tokens,
        tokens,
    )
    some = Shards(shards.folder, shards.manifest, "validation", chosen)
    return Sample(some, some.sample(tokens, derive_seed(recipe.seed, "sample", shards.source)))


def check_header(
    header: Header, folder: Path, name: str, recipe: Recipe, tokenizer: Tokenizer
) -> None:
    """Reject shards made from other text or with other settings."""
    comparison = comparison_digest(recipe.data)
    if header != make_header(name, recipe.data, tokenizer, comparison):
        raise YxanulError(
            f"the shards of '{name}' in {folder} were made from other text or another tokenizer",
            hint="run `yxanul prepare` with this recipe, or choose another data.folder",
        )


_POLL_SECONDS = 0.02
_LINE_SECONDS = 30.0
"""Seconds between lines about encoding in the background."""
_CANCEL_SECONDS = 3.0
_MAX_IDLE_POLLS = 250


def tell(manifests: Mapping[str, Manifest], ui: Ui) -> None:
    """Print one line per source: documents, tokens and dropped documents."""
    for name, manifest in manifests.items():
        documents = sum(split.documents for split in manifest.splits.values())
        tokens = sum(split.tokens for split in manifest.splits.values())
        dropped = ", ".join(f"{count:,} {cause}" for cause, count in manifest.dropped.items())
        suffix = f"; dropped: {dropped}" if dropped else ""
        ui.say(f"{name}: {documents:,} documents, {tokens:,} tokens{suffix}")


def starts_early(recipe: Recipe) -> bool:
    """Return whether the first stage can begin before all text is encoded.

    A stage that starts from pretrained weights cannot: it first scores all held-out text, as later
    stages do.
    """
    bounded = any(recipe.data.sources[name].max_epochs for name in used_sources(recipe))
    known = not recipe.stages[0].budget.needs_all_text and recipe.eval.max_tokens is not None
    known = known and recipe.model.init_from is None
    elsewhere = is_address(recipe.data.folder or "")
    return recipe.data.overlap_prepare and known and not bounded and not elsewhere


class Preparation:
    """Context manager: creates a run's tokenizer, and encodes its text in worker processes, driven
    by a background thread; leaving the block cancels the encoding."""

    def __init__(self, run: RunFolder, recipe: Recipe, ui: Ui, stop: StopRequest) -> None:
        self._run, self._recipe, self._ui, self._stop = run, recipe, ui, stop
        self._folder = run.data(recipe.data.folder)
        self._tokenizer: Tokenizer
        self._planned, self._cancelled = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self._is_training, self._lock = False, threading.Lock()
        self._idle_polls = 0
        self._thread = threading.Thread(target=self._work, name="prepare", daemon=True)

    def __enter__(self) -> Preparation:
        self._tokenizer = make_tokenizer(self._run, self._recipe, self._ui)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop encoding; the next call resumes it.

        Work that cannot stop soon, such as a shard encoded in this process, is not waited for: the
        thread dies with the process, and its files are written atomically.
        """
        self._cancelled.set()
        self._thread.join(_CANCEL_SECONDS)

    @property
    def is_done(self) -> bool:
        """Whether all text is encoded; raises the error of the background thread, if any."""
        if self._thread.is_alive():
            return False
        if self._error is not None:
            raise self._error
        return True

    def wait(self) -> None:
        """Sleep briefly while more text is encoded."""
        self._stop.raise_if_asked(
            "stopped while waiting for text; encoded text is saved",
            hint="run the same command to resume",
        )
        if self.is_done:
            self._idle_polls += 1
            if self._idle_polls > _MAX_IDLE_POLLS:
                raise YxanulError(
                    "an encoded shard has disappeared",
                    hint="another program changes the shard folder; run the same command again",
                )
        time.sleep(_POLL_SECONDS)

    def finish(self) -> None:
        """Wait until all text is encoded."""
        while not self.is_done:
            self.wait()

    def shards(self, split: Split) -> dict[str, PartialShards]:
        """Return the used sources' shards; reading one that is not encoded yet blocks."""
        while not self._planned.is_set():
            self.wait()
        opened: dict[str, PartialShards] = {}
        for name in used_sources(self._recipe):
            opened[name] = PartialShards(self._folder / name, split, self.wait)
            header = opened[name].outline.header
            check_header(header, self._folder, name, self._recipe, self._tokenizer)
        return opened

    def first_held_out(self) -> dict[str, Shards]:
        """Return the held-out text that is scored during training, once it is encoded."""
        recipe, tokens = self._recipe, self._recipe.eval.max_tokens
        assert tokens is not None
        first: dict[str, Shards] = {}
        for name, one in self.shards("validation").items():
            order = first_order(one.num_parts, recipe.seed, name).tolist()
            first[name] = one.first_held_out(order, recipe.data.shuffle_tokens, tokens)
        return first

    def wait_for_start(self) -> bool:
        """Wait until training can begin; return whether encoding continues.

        Training needs the first group of every source's shards and the held-out text that is scored
        during training, or all text if the recipe requires it. Later errors are shown immediately.
        """
        if not starts_early(self._recipe):
            self.finish()
            return False
        for shards in self.shards("train").values():
            order = TokenStream(shards, self._recipe.seed, self._recipe.data.shuffle_tokens)
            if order.is_empty:
                self.finish()  # raises an error that explains why there is no text
        if not all(shards.num_tokens for shards in self.first_held_out().values()):
            self.finish()
        if self.is_done:
            return False
        with self._lock:
            self._is_training = True
        if self._error is not None:
            raise self._error
        self._ui.say(
            "enough text is encoded to start training; encoding the rest in the background"
        )
        return True

    def _work(self) -> None:
        hooks = PrepareHooks(self._planned.set, self._check, process_is_busy=True)
        folder, data, seed = self._folder, self._recipe.data, self._recipe.seed
        early = starts_early(self._recipe)  # training has the progress bar then
        ui = LineUi(self._ui.say, self._ui.warn, _LINE_SECONDS) if early else self._ui
        try:
            tell(
                prepare_corpus(data, self._tokenizer, folder, ui, seed=seed, hooks=hooks), self._ui
            )
        except _Cancelled:
            pass
        except OSError as error:
            self._fail(YxanulError(f"cannot write encoded text to {folder}", got=error.strerror))
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Keep an error for whoever waits for text; during training, also show it immediately."""
        with self._lock:
            self._error = error
            is_training = self._is_training
        if is_training:
            self._ui.warn(f"{error}; training continues with the text encoded so far")

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise _Cancelled


class _Cancelled(Exception):
    """Encoding was cancelled."""


class RunData:
    """Shards of a run: all of them, or those encoded so far."""

    def __init__(
        self, run: RunFolder, recipe: Recipe, ui: Ui, preparation: Preparation | None = None
    ) -> None:
        self._run, self._recipe, self._ui, self._preparation = run, recipe, ui, preparation
        self.folder = run.data(recipe.data.folder)
        self.tokenizer = load_tokenizer(run, recipe)
        self.train_tokens: dict[str, int] = {}
        """Training tokens of each source; empty until all text is encoded."""
        shards: Mapping[str, ShardSet]
        if preparation is None:
            shards = open_shards(run, recipe, "train", self.tokenizer, ui)
            self._open_whole()
        else:
            shards, self.held_out = preparation.shards("train"), preparation.first_held_out()
        tokens = recipe.data.shuffle_tokens
        self.orders = {name: TokenStream(one, recipe.seed, tokens) for name, one in shards.items()}
        self.samples = {name: draw_sample(one, recipe) for name, one in self.held_out.items()}
        """Samples of `held_out` that are scored during training."""

    @property
    def is_whole(self) -> bool:
        """Whether all text is encoded."""
        return self._preparation is None

    def finish(self) -> None:
        """Wait until all text is encoded."""
        if self._preparation is not None:
            self._preparation.finish()
            self._preparation = None
            self._open_whole()

    def _open_whole(self) -> None:
        self.held_out = open_shards(self._run, self._recipe, "validation", self.tokenizer, self._ui)
        self.train_tokens = {
            name: one.manifest.splits["train"].tokens for name, one in self.held_out.items()
        }

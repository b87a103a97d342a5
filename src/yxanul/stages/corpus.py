"""From texts to shards: the tokenizer is trained (or loaded) first, then all text is encoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from yxanul.base.cache import is_address
from yxanul.base.errors import YxanulError
from yxanul.base.run_folder import RunFolder
from yxanul.base.seeds import derive_seed
from yxanul.base.ui import Ui
from yxanul.data.contamination import comparison_digest
from yxanul.data.encode import Beside, CorpusReport, prepare_corpus
from yxanul.data.fetch import fetch_shards
from yxanul.data.growing import sampled_parts
from yxanul.data.manifest import Header, Split, read_manifest
from yxanul.data.order import first_order
from yxanul.data.plan import make_header
from yxanul.data.sample import training_texts
from yxanul.data.shards import Shards
from yxanul.recipe import Recipe
from yxanul.tokenizer.build import build_tokenizer
from yxanul.tokenizer.tokenizer import Tokenizer


def prepare(run: RunFolder, recipe: Recipe, ui: Ui) -> CorpusReport:
    """Make tokenizer and shards of a run; what an interrupted call has finished is kept."""
    return encode(run, recipe, make_tokenizer(run, recipe, ui), ui)


def encode(
    run: RunFolder, recipe: Recipe, tokenizer: Tokenizer, ui: Ui, beside: Beside | None = None
) -> CorpusReport:
    """Make the shards of a run."""
    return prepare_corpus(
        recipe.data,
        tokenizer,
        run.data(recipe.data.folder),
        ui,
        seed=recipe.seed,
        beside=beside,
    )


def make_tokenizer(run: RunFolder, recipe: Recipe, ui: Ui) -> Tokenizer:
    """Return the run's tokenizer, made now if it is not there yet."""
    if recipe.model.init_from is not None and not run.has_begun:
        from yxanul.stages.initial import take_tokenizer  # it loads torch

        take_tokenizer(run, recipe, ui)
    elif recipe.tokenizer is not None and not run.tokenizer.exists():
        tokenizer = build_tokenizer(recipe.tokenizer, lambda: training_texts(recipe.data), ui)
        tokenizer.save(run.tokenizer)
        ui.say(f"tokenizer: {recipe.tokenizer.kind}, {tokenizer.vocab_size:,} tokens")
    return load_tokenizer(run, recipe)


def load_tokenizer(run: RunFolder, recipe: Recipe) -> Tokenizer:
    """Return the tokenizer of a prepared run; weights that exist may know more ids than it."""
    if not run.tokenizer.exists():
        raise YxanulError(
            f"{run.path} has no tokenizer yet",
            hint="run `yxanul prepare` with the same arguments first, or `yxanul run`",
        )
    num_ids = recipe.model.vocab_size if recipe.model.init_from is not None else None
    return Tokenizer.load(run.tokenizer, num_ids=num_ids or 0)


def used_sources(recipe: Recipe) -> list[str]:
    """Return the sources that a stage uses."""
    return sorted({name for stage in recipe.stages for name in stage.domains()})


def open_shards(
    run: RunFolder, recipe: Recipe, split: Split, tokenizer: Tokenizer, ui: Ui
) -> dict[str, Shards]:
    """Open the shards of every source that a stage uses; missing ones are an error. What lies at
    an address is copied here first."""
    folder, address = run.data(recipe.data.folder), recipe.data.folder
    if address is not None and is_address(address):
        fetch_shards(address, ui, used_sources(recipe), [split])
    shards: dict[str, Shards] = {}
    for name in used_sources(recipe):
        manifest = read_manifest(folder / name)
        check_header(manifest.header, folder, name, recipe, tokenizer)
        shards[name] = Shards(folder / name, manifest, split)
    return shards


@dataclass(frozen=True)
class Sample:
    """The held-out documents of a source that are scored during training."""

    shards: Shards
    documents: list[int] | None
    """None stands for all."""


def draw_sample(shards: Shards, recipe: Recipe) -> Sample:
    """Draw documents until they have `eval.max_tokens`, at most; all if there is no such bound.

    Where text is still being encoded, `shards` are the parts that `sampled_parts` chooses; of whole
    shards these are taken here, so that both ways give one sample.
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
    """Refuse shards that were made of other text, or under other settings."""
    comparison = comparison_digest(recipe.data)
    if header != make_header(name, recipe.data, tokenizer, comparison):
        raise YxanulError(
            f"the shards of '{name}' in {folder} are of other text or another tokenizer",
            hint="run `yxanul prepare` with this recipe, or give data.folder another name",
        )

"""From texts to shards: the tokenizer is trained (or loaded) first, then all text is encoded."""

from __future__ import annotations

from yxanul.base.errors import YxanulError
from yxanul.base.run_folder import RunFolder
from yxanul.base.ui import Ui
from yxanul.data.encode import CorpusReport, prepare_corpus
from yxanul.data.manifest import Split, read_manifest
from yxanul.data.plan import make_header
from yxanul.data.sample import training_texts
from yxanul.data.shards import Shards
from yxanul.recipe import Recipe
from yxanul.tokenizer.build import build_tokenizer
from yxanul.tokenizer.tokenizer import Tokenizer


def prepare(run: RunFolder, recipe: Recipe, ui: Ui) -> CorpusReport:
    """Make tokenizer and shards of a run; what an interrupted call has finished is kept."""
    return prepare_corpus(
        recipe.data, make_tokenizer(run, recipe, ui), run.data(recipe.data.folder), ui
    )


def make_tokenizer(run: RunFolder, recipe: Recipe, ui: Ui) -> Tokenizer:
    """Return the run's tokenizer, made now if it is not there yet."""
    if run.tokenizer.exists():
        return Tokenizer.load(run.tokenizer)
    tokenizer = build_tokenizer(recipe.tokenizer, lambda: training_texts(recipe.data), ui)
    tokenizer.save(run.tokenizer)
    ui.say(f"tokenizer: {recipe.tokenizer.kind}, {tokenizer.vocab_size:,} tokens")
    return tokenizer


def open_shards(
    run: RunFolder, recipe: Recipe, split: Split, tokenizer: Tokenizer
) -> dict[str, Shards]:
    """Open the shards of every source that a stage uses; missing ones are an error."""
    folder = run.data(recipe.data.folder)
    used = sorted({name for stage in recipe.stages for name in stage.domains()})
    for name in used:
        header = make_header(name, recipe.data.sources[name], recipe.data, tokenizer)
        if read_manifest(folder / name).header != header:
            raise YxanulError(
                f"the shards of '{name}' in {folder} are of other text or another tokenizer",
                hint="run `yxanul prepare` with this recipe, or give data.folder another name",
            )
    return {name: Shards.open(folder, name, split, tokenizer.digest) for name in used}

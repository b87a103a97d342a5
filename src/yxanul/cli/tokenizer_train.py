"""`yxanul tokenizer train`: train a BPE or SuperBPE tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from yxanul.base.errors import YxanulError
from yxanul.base.interrupt import StopRequest
from yxanul.cli.options import JsonOption, argument, check_folder, flag, folder_named, option
from yxanul.cli.output import make_ui, print_result

if TYPE_CHECKING:
    from yxanul.data.config import DataSettings
    from yxanul.tokenizer.compare import Length
    from yxanul.tokenizer.config import BpeSettings, SuperBpeSettings
    from yxanul.tokenizer.tokenizer import Tokenizer

    Trained: TypeAlias = BpeSettings | SuperBpeSettings

NAME = "train"
EXAMPLES = """
yxanul tokenizer train my-texts/ --vocab-size 8192 --out my-bpe
yxanul tokenizer train superbpe my-texts/ more.jsonl --vocab-size 32768 --out my-superbpe
yxanul tokenizer train --recipe quickstart --special-token "<step>" --out stories
"""
HELD_OUT_BYTES = 2_000_000


def command(
    paths: Annotated[
        list[str] | None,
        argument(
            "[bpe|superbpe] PATH", "Text: .txt, .jsonl or .parquet files, or folders of them."
        ),
    ] = None,
    out: Annotated[
        Path | None, option("DIR", "Output folder of tokenizer.json.", parser=folder_named)
    ] = None,
    vocab_size: Annotated[
        int | None,
        option("N", "Ids with special tokens.  [default: the recipe's, else 4096]"),
    ] = None,
    transition: Annotated[
        int | None, option("N", "superbpe: tokens learned within words, in stage one.")
    ] = None,
    sample_bytes: Annotated[
        int | None,
        option("N", "Bytes of training text.  [default: the recipe's, else 20000000]"),
    ] = None,
    special_token: Annotated[
        list[str] | None, option("TEXT", "A text that becomes one token; repeatable.")
    ] = None,
    chat_template: Annotated[str | None, option("NAME", "plain, chatml or a Jinja source.")] = None,
    recipe: Annotated[str | None, option("RECIPE", "Train on a recipe's training text.")] = None,
    force: Annotated[bool, flag("--force", "Overwrite an existing tokenizer.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a tokenizer on text, and measure it on held-out text."""
    from yxanul.data.texts import print_notes, training_texts
    from yxanul.tokenizer.build import build_tokenizer

    folder = check_output(out, force)
    kind, text_paths = None, paths or []
    if text_paths[:1] in (["bpe"], ["superbpe"]):  # ./bpe is a path
        kind, *text_paths = text_paths
    given = {
        "vocab_size": vocab_size,
        "transition": transition,
        "sample_bytes": sample_bytes,
        "special_tokens": tuple(special_token) if special_token else None,
        "chat_template": chat_template,
    }
    given = {name: value for name, value in given.items() if value is not None}
    data, settings = what_to_train(kind, text_paths, recipe, given)
    ui = make_ui()
    with StopRequest().handled():
        print_notes(data.sources.values(), ui)
        tokenizer = build_tokenizer(settings, lambda: training_texts(data), ui)
        tokenizer.save(folder / "tokenizer.json")
        length = held_out_length(tokenizer, data)
    facts = train_facts(folder, settings, tokenizer, length)
    print_result(facts, train_text(facts), as_json)


def check_output(out: Path | None, force: bool) -> Path:
    """Return the output folder; raise if it holds a model, or a tokenizer without `force`."""
    if out is None:
        raise YxanulError("no output folder for the tokenizer", expected="--out DIR")
    check_folder(out)
    for name in ("recipe.yaml", "config.json"):
        if (out / name).exists():
            raise YxanulError(
                f"{out} holds a model, which would not match a new tokenizer",
                got=name,
                hint="choose another folder with --out",
            )
    if (out / "tokenizer.json").exists() and not force:
        raise YxanulError(
            f"{out} already has a tokenizer",
            hint="choose another folder with --out, or overwrite it with --force",
        )
    return out


def what_to_train(
    kind: str | None, paths: Sequence[str], recipe: str | None, given: Mapping[str, Any]
) -> tuple[DataSettings, Trained]:
    """Return the text sources and the settings; a recipe fills in what no option sets."""
    from yxanul.data.texts import data_of_paths
    from yxanul.recipe import load_recipe
    from yxanul.tokenizer.config import TrainedSettings

    if (recipe is None) == (not paths):
        raise YxanulError(
            "no text to train on" if recipe is None else "two sources of text",
            got=None if recipe is None else f"--recipe {recipe} and {paths[0]}",
            expected="PATH ... or --recipe RECIPE",
        )
    if recipe is None:
        return data_of_paths(paths), trained_settings(kind or "bpe", given)
    loaded = load_recipe(recipe)
    own = loaded.tokenizer
    if isinstance(own, TrainedSettings) and kind in (None, own.kind):
        given = {**own.model_dump(exclude={"kind"}, exclude_unset=True), **given}
        kind = own.kind
    return loaded.data, trained_settings(kind or "bpe", given)


def trained_settings(kind: str, given: Mapping[str, Any]) -> Trained:
    """Return validated settings of a trainable kind."""
    from yxanul.base.settings import checked
    from yxanul.tokenizer.config import BpeSettings, SuperBpeSettings

    if "transition" in given and kind == "bpe":
        raise YxanulError("--transition needs a superbpe", hint="write superbpe before the paths")
    return checked(BpeSettings if kind == "bpe" else SuperBpeSettings, **given)


def held_out_length(tokenizer: Tokenizer, data: DataSettings) -> Length | None:
    """Measure held-out text, an equal slice of each source; None if there is none."""
    from yxanul.data.texts import held_out_texts, take_bytes
    from yxanul.tokenizer.compare import measure

    share = HELD_OUT_BYTES // len(data.sources)
    texts = [t for name in data.sources for t in take_bytes(held_out_texts(data, name), share)]
    return measure(tokenizer, texts) if texts else None


def train_facts(
    folder: Path, settings: Trained, tokenizer: Tokenizer, length: Length | None
) -> dict[str, Any]:
    """Return the results as plain data."""
    from yxanul.tokenizer.config import SuperBpeSettings
    from yxanul.tokenizer.load import describe

    facts = describe(tokenizer)
    two_stages = isinstance(settings, SuperBpeSettings)
    return {
        "out": str(folder),
        "kind": settings.kind,
        "vocab_size": facts.vocab_size,
        "transition": settings.num_stage_one if two_stages else None,
        "sample_bytes": settings.sample_bytes,
        "added_tokens": facts.added_tokens,
        "end_of_text_id": facts.end_of_text_id,
        "digest": facts.digest,
        "bytes_per_token": length.bytes_per_token if length else None,
        "held_out": length.to_dict() if length else None,
    }


def train_text(facts: Mapping[str, Any]) -> str:
    """Return the facts as text."""
    transition = facts["transition"]
    within = f", {transition:,} of them within words" if transition else ""
    lines = [f"{facts['out']}: {facts['kind']}, {facts['vocab_size']:,} tokens{within}"]
    if held_out := facts["held_out"]:
        size = f"{held_out['bytes']:,} bytes of held-out text"
        lines.append(f"{facts['bytes_per_token']:.3f} bytes per token on {size}")
    else:
        lines.append("not measured: the text is too short to hold some of it out")
    return "\n".join(lines)

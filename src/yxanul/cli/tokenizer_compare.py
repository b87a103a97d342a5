"""`yxanul tokenizer compare`: bytes per token of several tokenizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from yxanul.cli.options import JsonOption

if TYPE_CHECKING:
    from yxanul.base.ui import Ui
    from yxanul.tokenizer.compare import Length
    from yxanul.tokenizer.tokenizer import Tokenizer

NAME = "compare"
EXAMPLES = """**Examples**

`yxanul tokenizer compare byte runs/quickstart my-superbpe --recipe quickstart`

`yxanul tokenizer compare gpt2 my-bpe --text prose=a.txt --text code=b.jsonl --picture c.svg`"""
Texts: TypeAlias = dict[str, list[str]]
Lengths: TypeAlias = "dict[str, dict[str, Length]]"
TOTAL = "all"


def command(
    tokenizers: Annotated[
        list[str],
        typer.Argument(
            metavar="TOKENIZER", help="Names, folders or files, as for `tokenizer show`."
        ),
    ],
    text: Annotated[
        list[str] | None,
        typer.Option("--text", metavar="DOMAIN=PATH", help="Text of a domain; repeatable."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe", metavar="RECIPE", help="Use the held-out text of a recipe's sources."
        ),
    ] = None,
    sample_bytes: Annotated[
        int, typer.Option(metavar="N", help="Maximum bytes of each domain.", min=1)
    ] = 10_000_000,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE", help="Write a bar chart as .svg or .png."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure bytes per token of several tokenizers on the same text, by domain."""
    from yxanul.base.interrupt import StopRequest
    from yxanul.cli.output import make_ui, print_result
    from yxanul.cli.tokenizer_picture import bars, check_picture, draw

    if picture is not None:
        check_picture(picture)
    with StopRequest().handled():
        ui, opened = make_ui(), open_all(tokenizers)
        texts = read_texts(text or [], recipe, sample_bytes, ui)
        lengths = measure_all(opened, texts, ui)
        figures = figures_of(lengths)
        if picture is not None:
            draw(picture, figures)
    text_of_all = "\n\n".join([table(lengths), bars(figures)])
    print_result(compare_facts(opened, lengths), text_of_all, as_json)


def open_all(names: Sequence[str]) -> dict[str, Tokenizer]:
    """Open the tokenizers; raise on a duplicate name."""
    from yxanul.base.errors import YxanulError
    from yxanul.tokenizer.load import open_named

    if twice := [name for name in names if names.count(name) > 1]:
        raise YxanulError("duplicate tokenizer", got=twice[0])
    return {name: open_named(name) for name in names}


def read_texts(given: Sequence[str], recipe: str | None, max_bytes: int, ui: Ui) -> Texts:
    """Return the texts of each domain in memory; raise if a domain has none."""
    from yxanul.base.errors import YxanulError
    from yxanul.data.texts import held_out_texts, take_bytes, texts_of_path
    from yxanul.recipe import load_recipe

    streams = {}
    for argument in given:
        domain, path = domain_and_path(argument)
        streams.setdefault(domain, []).append(texts_of_path(path, ui))
    if recipe is not None:
        data = load_recipe(recipe).data
        for name in data.sources:
            streams.setdefault(name, []).append(held_out_texts(data, name))
    if not streams:
        raise YxanulError("no text", expected="--text DOMAIN=PATH ... or --recipe RECIPE")
    texts = {
        domain: take_bytes((text for stream in several for text in stream), max_bytes)
        for domain, several in streams.items()
    }
    if empty := [domain for domain, own in texts.items() if not own]:
        raise YxanulError(f"no text in domain '{empty[0]}'")
    return texts


def domain_and_path(given: str) -> tuple[str, str]:
    """Split DOMAIN=PATH; the domain of a path alone is its stem."""
    from yxanul.base.errors import YxanulError

    domain, equals, path = given.partition("=")
    if Path(given).exists() or not equals:
        return Path(given).stem, given
    if not domain or not path:
        raise YxanulError(f"--text {given}", expected="DOMAIN=PATH")
    if domain == TOTAL:
        raise YxanulError(f"a domain cannot be named '{TOTAL}'", hint="reserved for the total")
    return domain, path


def measure_all(tokenizers: Mapping[str, Tokenizer], texts: Texts, ui: Ui) -> Lengths:
    """Return the lengths by tokenizer and domain, with a total over several domains."""
    from yxanul.tokenizer.compare import Length, measure

    total = sum(len(text.encode()) for several in texts.values() for text in several)
    lengths: Lengths = {}
    with ui.task("compare", total * len(tokenizers), "B") as task:
        for name, tokenizer in tokenizers.items():
            own = {domain: measure(tokenizer, several, task) for domain, several in texts.items()}
            lengths[name] = own if len(own) == 1 else {**own, TOTAL: sum(own.values(), Length())}
    return lengths


def figures_of(lengths: Lengths) -> dict[str, dict[str, float]]:
    """Return bytes per token by domain and tokenizer."""
    domains = next(iter(lengths.values()))
    return {
        domain: {name: own[domain].bytes_per_token for name, own in lengths.items()}
        for domain in domains
    }


def compare_facts(tokenizers: Mapping[str, Tokenizer], lengths: Lengths) -> dict[str, Any]:
    """Return all measurements as plain data."""
    from yxanul.tokenizer.load import describe

    facts = {}
    for name, tokenizer in tokenizers.items():
        description = describe(tokenizer)
        facts[name] = {
            "kind": description.kind,
            "vocab_size": description.vocab_size,
            "digest": description.digest,
            "domains": {domain: length.to_dict() for domain, length in lengths[name].items()},
        }
    return {"tokenizers": facts}


def table(lengths: Lengths) -> str:
    """Return bytes per token and tokens by domain, one column per tokenizer."""
    figures = figures_of(lengths)
    width = max(14, *(len(name) + 2 for name in lengths))
    first = max(16, *(len(domain) + 2 for domain in figures))
    header = "".join(f"{name:>{width}}" for name in lengths)
    lines = [f"{'bytes per token':<{first}}{header}"]
    for domain, by_name in figures.items():
        cells = "".join(f"{value:>{width}.3f}" for value in by_name.values())
        lines.append(f"{domain:<{first}}{cells}")
    lines += ["", f"{'tokens':<{first}}{header}"]
    for domain in figures:
        cells = "".join(f"{own[domain].tokens:>{width},}" for own in lengths.values())
        lines.append(f"{domain:<{first}}{cells}")
    return "\n".join(lines)

"""`yxanul tokenizer compare`: bytes per token of several tokenizers."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from yxanul.base.errors import YxanulError, missing_package
from yxanul.base.files import atomic_file
from yxanul.base.interrupt import StopRequest
from yxanul.cli.options import JsonOption, argument, option
from yxanul.cli.output import make_ui, print_result
from yxanul.cli.pictures import bars, table

if TYPE_CHECKING:
    from yxanul.base.ui import Ui
    from yxanul.tokenizer.compare import Length
    from yxanul.tokenizer.tokenizer import Tokenizer

NAME = "compare"
EXAMPLES = """
yxanul tokenizer compare byte runs/quickstart my-superbpe --recipe quickstart
yxanul tokenizer compare gpt2 my-bpe --text prose=a.txt --text code=b.jsonl --picture c.svg
"""
Texts: TypeAlias = dict[str, list[str]]
Lengths: TypeAlias = "dict[str, dict[str, Length]]"
TOTAL = "all"


def command(
    tokenizers: Annotated[
        list[str],
        argument("TOKENIZER", "Names, folders or files, as for `tokenizer show`."),
    ],
    text: Annotated[
        list[str] | None, option("DOMAIN=PATH", "Text of a domain; repeatable.")
    ] = None,
    recipe: Annotated[
        str | None, option("RECIPE", "Use the held-out text of a recipe's sources.")
    ] = None,
    sample_bytes: Annotated[int, option("N", "Maximum bytes of each domain.", min=1)] = 10_000_000,
    picture: Annotated[Path | None, option("FILE", "Write a bar chart as .svg or .png.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure bytes per token of several tokenizers on the same text, by domain."""
    if picture is not None:
        check_picture(picture)
    with StopRequest().handled():
        ui, opened = make_ui(), open_all(tokenizers)
        texts = read_texts(text or [], recipe, sample_bytes, ui)
        lengths = measure_all(opened, texts, ui)
        if picture is not None:
            draw(picture, figures_of(lengths))
    print_result(compare_facts(opened, lengths), lengths_text(lengths), as_json)


def open_all(names: Sequence[str]) -> dict[str, Tokenizer]:
    """Open the tokenizers; raise on a duplicate name."""
    from yxanul.tokenizer.load import open_named

    if twice := [name for name in names if names.count(name) > 1]:
        raise YxanulError("duplicate tokenizer", got=twice[0])
    return {name: open_named(name) for name in names}


def read_texts(given: Sequence[str], recipe: str | None, max_bytes: int, ui: Ui) -> Texts:
    """Return the texts of each domain in memory; raise if a domain has none."""
    from yxanul.data.texts import held_out_texts, take_bytes, texts_of_path
    from yxanul.recipe import load_recipe

    streams = {}
    for one in given:
        domain, path = domain_and_path(one)
        streams.setdefault(domain, []).append(texts_of_path(path, ui))
    if recipe is not None:
        data = load_recipe(recipe).data
        for name in data.sources:
            streams.setdefault(name, []).append(held_out_texts(data, name))
    if not streams:
        raise YxanulError("no text", expected="--text DOMAIN=PATH ... or --recipe RECIPE")
    if TOTAL in streams:
        raise YxanulError(f"a domain cannot be named '{TOTAL}'", hint="reserved for the total")
    texts = {
        domain: take_bytes((text for stream in several for text in stream), max_bytes)
        for domain, several in streams.items()
    }
    if empty := [domain for domain, own in texts.items() if not own]:
        raise YxanulError(f"no text in domain '{empty[0]}'")
    return texts


def domain_and_path(given: str) -> tuple[str, str]:
    """Split DOMAIN=PATH; the domain of a path alone is its stem."""
    domain, equals, path = given.partition("=")
    if Path(given).exists() or not equals:
        return Path(given).stem, given
    if not domain or not path:
        raise YxanulError(f"--text {given}", expected="DOMAIN=PATH")
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


def lengths_text(lengths: Lengths) -> str:
    """Return bytes per token and tokens by domain as tables, and bytes per token as bars."""
    figures = figures_of(lengths)
    per_token = [[domain, *(f"{n:.3f}" for n in own.values())] for domain, own in figures.items()]
    tokens = [
        [domain, *(f"{own[domain].tokens:,}" for own in lengths.values())] for domain in figures
    ]
    rows = [
        (f"{domain}  {name}", value)
        for domain, by_name in figures.items()
        for name, value in by_name.items()
    ]
    lines = [*table(("bytes per token", *lengths), per_token), ""]
    lines += [*table(("tokens", *lengths), tokens), ""]
    return "\n".join([*lines, "bytes per token", *bars(rows, format="{:.2f}".format)])


def check_picture(file: Path) -> None:
    """Raise if the file cannot be drawn, before anything is measured."""
    if file.suffix.lower() not in (".svg", ".png"):
        raise YxanulError(f"--picture {file}", expected="a file that ends in .svg or .png")
    if importlib.util.find_spec("matplotlib") is None:
        raise missing_package("matplotlib", "plot")


def draw(file: Path, figures: Mapping[str, Mapping[str, float]]) -> None:
    """Write a bar chart grouped by domain as an .svg or .png file."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    names = list(next(iter(figures.values())))
    share = 0.8 / len(names)
    figure = Figure(figsize=(max(6.0, 0.5 * len(names) * len(figures) + 2), 4), layout="tight")
    axes = figure.subplots()
    for index, name in enumerate(names):
        shift = (index - (len(names) - 1) / 2) * share
        values = [by_name[name] for by_name in figures.values()]
        positions = [number + shift for number in range(len(figures))]
        drawn = axes.bar(positions, values, share, label=name)
        axes.bar_label(drawn, fmt="%.2f", fontsize=7)
    axes.set_xticks(range(len(figures)), list(figures))
    axes.set_ylabel("bytes per token")
    axes.legend(fontsize=8)
    kind = file.suffix.lower()[1:]
    with rc_context({"svg.hashsalt": NAME}), atomic_file(file) as out:  # equal files each time
        figure.savefig(out, format=kind, metadata={"Date": None} if kind == "svg" else None)

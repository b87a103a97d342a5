"""`yxanul show`: a recipe's plan, a model's parameter table, or a run's state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from yxanul.base.errors import YxanulError, did_you_mean
from yxanul.cli.options import JsonOption, Overrides, argument, flag, option
from yxanul.cli.output import print_result

if TYPE_CHECKING:
    from yxanul.model.config import ModelSettings

NAME = "show"
EXAMPLES = """
yxanul show quickstart 'stages.0.budget={steps: 500}'
yxanul show yxanul-177m
yxanul show four-stages --html plan.html
yxanul show runs/quickstart
yxanul show models/some-llama
"""


def command(
    what: Annotated[str, argument("RECIPE|PRESET|RUN|FOLDER", "What to show.")],
    overrides: Overrides = None,
    full: Annotated[bool, flag("--full", "Also show the resolved recipe as YAML.")] = False,
    html: Annotated[
        Path | None,
        option("FILE", "Also write the plan as a page: phases, learning rate, mix, gates."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a recipe's plan, a preset's exact parameter counts, or a run's state."""
    from yxanul.cli.show_plan import show_recipe
    from yxanul.cli.show_run import show_run
    from yxanul.model.config import ModelSettings
    from yxanul.model.zoo import PRESETS
    from yxanul.recipe.files import installed_files

    folder = Path(what)
    is_folder = (folder / "config.json").is_file()
    is_run = any((folder / file).is_file() for file in ("recipe.yaml", "ledger.json"))
    if (overrides or full or html) and (is_run or is_folder or what in PRESETS):
        switch = "--full" if full else "--html"
        given = f"'{overrides[0]}'" if overrides else switch
        rule = "only a recipe takes overrides" if overrides else f"{switch} needs a recipe"
        hint = f"yxanul report {what}" if is_run and html else None
        raise YxanulError(rule, got=f"{given} after {what}", hint=hint)
    if is_run:
        facts, text = show_run(folder)
    elif what in PRESETS:
        settings = ModelSettings.model_validate({"preset": what}).resolved(None)
        facts, text = show_model("preset", what, settings)
    elif is_folder:
        from yxanul.model.convert import read_settings

        facts, text = show_model("folder", what, read_settings(folder))
    elif what not in installed_files("recipe") and (hint := did_you_mean(what, PRESETS)):
        raise YxanulError(f"unknown recipe, preset or run '{what}'", hint=hint)
    else:
        facts, text = show_recipe(what, overrides or [], full, html)
    print_result(facts, text, as_json)


def show_model(kind: str, name: str, settings: ModelSettings) -> tuple[dict[str, Any], str]:
    """Return a model's exact parameter table, its FLOPs and bytes, as facts and text."""
    facts = model_facts(settings)
    return {kind: name, **facts}, model_text(name, facts)


def model_facts(settings: ModelSettings) -> dict[str, Any]:
    """Return a model's parameters and costs as plain data."""
    from yxanul.model import count

    flops = count.flops_per_token(settings, settings.max_seq_len)
    return {
        "parameters": count.count_parameters(settings),
        "parts": count.parameter_table(settings),
        "seq_len": settings.max_seq_len,
        "layers": settings.layer_kinds,
        "flops_per_token": flops.total,
        "flops": flops.to_dict(),
        "weight_bytes": count.weight_bytes(settings),
        "kv_bytes_per_token": count.kv_bytes_per_token(settings),
        "kv_cache_bytes": count.kv_cache_bytes(settings, settings.max_seq_len),
        "model": settings.model_dump(mode="json"),
    }


def model_text(name: str, facts: dict[str, Any]) -> str:
    """Return the facts of a model as text."""
    model, length = facts["model"], facts["seq_len"]
    lines = [f"{name}: {facts['parameters']:,} parameters, vocabulary of {model['vocab_size']:,}"]
    lines += [f"  {part:<28}{number:>14,}" for part, number in facts["parts"].items()]
    if model["window"] is not None:
        kinds = f"{facts['layers']} (L attends to {model['window']:,} tokens, G to all)"
        lines.append(f"layers: {kinds}")
    lines.append(f"training FLOPs per token at {length} tokens: {facts['flops_per_token']:,}")
    lines += [f"  {part:<28}{number:>14,}" for part, number in facts["flops"].items()]
    for dtype, size in facts["weight_bytes"].items():
        lines.append(f"weights in {dtype}: {size / 2**20:,.1f} MiB")
    lines.append(f"KV cache in bf16: {facts['kv_bytes_per_token']:,} bytes per token")
    if model["window"] is not None:
        whole = f"{facts['kv_cache_bytes'] / 2**20:,.1f} MiB"
        lines.append(f"  {whole} for {length:,} tokens: local layers keep only their window")
    return "\n".join(lines)

"""The recipe: one YAML file that fills everything in, read strictly.

A recipe names another one under `extends`, a stage names a curriculum there, and overrides
`key.path=value` lie on top. What comes out is one frozen `Recipe`; every mistake is reported at
once, each with the place it stands at.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from yxanul.base.errors import YxanulError, near_miss
from yxanul.base.marked_yaml import MarkedTree, read
from yxanul.base.mistakes import mistake_lines
from yxanul.base.settings import Settings
from yxanul.data.config import DataSettings
from yxanul.eval.config import EvalSettings
from yxanul.model.config import ModelSettings
from yxanul.monitor.config import MonitorSettings
from yxanul.optim.config import OptimSettings
from yxanul.stages.config import StageSettings
from yxanul.tokenizer.config import BpeSettings, TokenizerSettings
from yxanul.train.config import OPTIMIZERS_OF, TrainSettings
from yxanul.train.precision.config import fp8_misfit


class RecipeError(YxanulError):
    """A recipe with mistakes: one line each, with file, line and column."""


class Recipe(Settings):
    """Everything a run depends on."""

    description: str = ""
    """One line for people who choose among recipes."""
    seed: int = Field(default=0, ge=0)
    """The one number all randomness is derived from."""
    tokenizer: TokenizerSettings = BpeSettings()
    """How text becomes tokens."""
    data: DataSettings
    """Where text comes from."""
    model: ModelSettings
    """The model's shape."""
    optim: OptimSettings = OptimSettings()
    """Optimizer, rate and schedule."""
    train: TrainSettings = TrainSettings()
    """Precision, device, batch, checkpoints."""
    stages: tuple[StageSettings, ...] = Field(min_length=1)
    """What is learnt, in order, and what it has to show."""
    monitor: MonitorSettings = MonitorSettings()
    """What is recorded and where."""
    eval: EvalSettings = EvalSettings()
    """How held-out text is scored."""

    @field_validator("optim")
    @classmethod
    def _fill_in_rate(cls, optim: OptimSettings, info: ValidationInfo) -> OptimSettings:
        model = info.data.get("model")
        return optim if model is None else optim.at_width(model.width)

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"stages need different names, found {', '.join(names)}")
        for i, stage in enumerate(self.stages):
            self._check_stage(i, stage)
        strategy, optimizer = self.train.strategy, self.optim.name
        if optimizer not in OPTIMIZERS_OF.get(strategy, (optimizer,)):
            raise ValueError(
                f"train.strategy {strategy} goes with optim.name"
                f" {' or '.join(OPTIMIZERS_OF[strategy])}, not {optimizer}; strategy ddp does"
            )
        domain = self.train.checkpoint.best_domain
        if domain is not None and domain not in self.data.sources:
            hint = near_miss(domain, self.data.sources)
            raise ValueError(
                f"train.checkpoint.best names the source '{domain}', which there is not"
                + (f"; {hint}" if hint else "")
            )
        if self.train.precision == "fp8" and (misfit := fp8_misfit(self.model)):
            raise ValueError(f"train.precision fp8 wants multiples of 16; model.{misfit}")
        return self

    def _check_stage(self, index: int, stage: StageSettings) -> None:
        seen = {name for earlier in self.stages[: index + 1] for name in earlier.domains()}
        phase_mixes = [phase.mix for phase in stage.curriculum if phase.mix]
        gated = {*stage.gate.bits_per_byte, *stage.gate.perplexity}
        epochs = stage.budget.epochs if isinstance(stage.budget.epochs, dict) else {}
        for name in {name for mix in [stage.mix, epochs, *phase_mixes] for name in mix} | gated:
            if name not in self.data.sources:
                hint = near_miss(name, self.data.sources)
                choices = ", ".join(self.data.sources)
                raise ValueError(
                    f"stage '{stage.name}' names the source '{name}'; wanted one of {choices}"
                    + (f"; {hint}" if hint else "")
                )
        for name, passes in epochs.items():
            bound = self.data.sources[name].max_epochs
            if bound is not None and passes > bound:
                raise ValueError(
                    f"stage '{stage.name}' asks for {passes:g} epochs of '{name}', whose"
                    f" max_epochs is {bound:g}"
                )
        if unseen := gated - seen:
            raise ValueError(
                f"the gate of stage '{stage.name}' judges '{min(unseen)}',"
                " which no stage has trained by then"
            )
        self._check_lengths(stage)
        self._check_warmup(stage)

    def _check_lengths(self, stage: StageSettings) -> None:
        longest = max(phase.seq_len for phase in stage.curriculum)
        for phase in stage.curriculum:
            if phase.rows is None and phase.seq_len > self.train.batch_tokens:
                raise ValueError(
                    f"stage '{stage.name}' has rows of {phase.seq_len} tokens; a step has"
                    f" train.batch_tokens {self.train.batch_tokens}"
                )
        longest = max(longest, self.eval.seq_len or 0)
        if longest > self.model.max_seq_len:
            raise ValueError(
                f"stage '{stage.name}' or eval has rows of {longest} tokens; the model's"
                f" max_seq_len is {self.model.max_seq_len}"
            )

    def _check_warmup(self, stage: StageSettings) -> None:
        schedule = stage.optim.schedule or self.optim.schedule
        for unit in ("steps", "tokens"):
            warmup, budget = getattr(schedule, f"warmup_{unit}"), getattr(stage.budget, unit)
            if warmup is not None and budget is not None and warmup >= budget:
                raise ValueError(
                    f"the warm-up of stage '{stage.name}' takes {warmup} of its {budget} {unit}"
                )


def installed_recipes() -> dict[str, Path]:
    """Return the recipes that come with the package, by name."""
    return _installed("recipes")


def installed_curricula() -> dict[str, Path]:
    """Return the curricula that come with the package, by name: what stages may extend."""
    return _installed("recipes/curricula")


def find_recipe(name: str, beside: Path | None = None) -> Path:
    """Return the file of a recipe given by path or by the name of an installed one."""
    return _find(name, beside, "recipe", installed_recipes())


def find_curriculum(name: str, beside: Path | None = None) -> Path:
    """Return the file of a curriculum given by path or by the name of an installed one."""
    return _find(name, beside, "curriculum", installed_curricula())


def _installed(folder: str) -> dict[str, Path]:
    files = sorted((Path(str(resources.files("yxanul"))) / folder).glob("*.yaml"))
    return {path.stem: path for path in files}


def _find(name: str, beside: Path | None, kind: str, installed: dict[str, Path]) -> Path:
    if name.endswith((".yaml", ".yml")) or "/" in name:
        path = Path(name).expanduser()
        if beside is not None and not path.is_absolute():
            path = beside / path
        if not path.is_file():
            raise YxanulError(f"there is no {kind} file {path}")
        return path
    if name not in installed:
        hint = near_miss(name, installed)
        if kind == "recipe" and name in installed_curricula():
            hint = f"'{name}' is a curriculum: a stage takes it with `extends: {name}`"
        raise YxanulError(
            f"unknown {kind} '{name}'",
            wanted=f"a path to a .yaml file or one of {', '.join(installed)}",
            hint=hint,
        )
    return installed[name]


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe with its ancestors and overrides, checked; mistakes raise RecipeError."""
    tree = _read_with_ancestors(find_recipe(name), ())
    for override in overrides:
        dotted, equals, text = override.partition("=")
        if not equals or not dotted:
            raise YxanulError(f"override '{override}'", wanted="key.path=value")
        tree.set(dotted, text)
    return check_tree(tree)


def check_tree(tree: MarkedTree) -> Recipe:
    """Turn a tree of plain data into a Recipe, or report every mistake at its place."""
    plain = json.dumps(_without_null_rate(tree.value), default=str)
    try:
        return Recipe.model_validate_json(plain, strict=True)
    except ValidationError as error:
        raise RecipeError("\n".join(mistake_lines(tree, error, Recipe))) from None


def _without_null_rate(recipe: Any) -> Any:
    """Let `peak_rate: null` take back what an ancestor gave, so that the usual rate holds."""
    optim = recipe.get("optim") if isinstance(recipe, dict) else None
    if not isinstance(optim, dict) or optim.get("peak_rate", "") is not None:
        return recipe
    return {**recipe, "optim": {k: v for k, v in optim.items() if k != "peak_rate"}}


def recipe_schema() -> dict[str, Any]:
    """Return the JSON schema of a recipe file, which may leave to its ancestors what it likes."""
    schema = Recipe.model_json_schema()
    schema["properties"]["extends"] = {
        "type": "string",
        "description": "An installed recipe, or a path: what this one starts from.",
    }
    schema["$defs"]["StageSettings"]["properties"]["extends"] = {
        "type": "string",
        "description": "An installed curriculum, or a path: keys that the stage starts from.",
    }
    schema["$defs"]["OptimSettings"]["properties"]["peak_rate"]["type"] = ["number", "null"]
    for node in (schema, *schema["$defs"].values()):
        node.pop("required", None)
    return schema


def dump_recipe(recipe: Recipe) -> str:
    """Return the resolved recipe as YAML that `load_recipe` reads back to an equal one."""
    return yaml.safe_dump(as_plain(recipe), sort_keys=False, allow_unicode=True)


def as_plain(recipe: Recipe) -> dict[str, Any]:
    """Return the resolved recipe as plain data; keys left to their meaning of None are absent,
    but for those of the model that were set to null: a preset would fill them in."""
    plain, given = recipe.model_dump(mode="json", exclude_none=True), recipe.model.model_fields_set
    nulls = {name: None for name, value in recipe.model if value is None and name in given}
    plain["model"] |= nulls
    return plain


def differences(old: Recipe, new: Recipe) -> dict[str, str]:
    """Return {dotted key: "old -> new"} for every value in which two recipes differ."""
    before, after = _flat(old.model_dump(mode="json")), _flat(new.model_dump(mode="json"))
    keys = sorted(before.keys() | after.keys())
    pairs = {key: (before.get(key), after.get(key)) for key in keys}
    return {key: f"{a} -> {b}" for key, (a, b) in pairs.items() if a != b}


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    flat: dict[str, Any] = {}
    for key, inner in items:
        name = f"{prefix}{key}"
        nested = isinstance(inner, dict | list) and inner
        flat |= _flat(inner, f"{name}.") if nested else {name: inner}
    return flat


def _read_with_ancestors(
    path: Path, children: tuple[Path, ...], find: Callable[[str, Path], Path] = find_recipe
) -> MarkedTree:
    if path.resolve() in children:
        raise YxanulError(f"{path} extends itself", found=" -> ".join(map(str, children)))
    tree = read(path)
    if not isinstance(tree.value, dict):
        raise YxanulError(f"{path} is not a recipe", wanted="a mapping of sections")
    _take_curricula(tree, path)
    return _over_parent(tree, path, (*children, path.resolve()), find)


def _over_parent(
    tree: MarkedTree, path: Path, children: tuple[Path, ...], find: Callable[[str, Path], Path]
) -> MarkedTree:
    """Lay a mapping over what its `extends` names, if it has one."""
    parent = tree.value.pop("extends", None)
    if parent is None:
        return tree
    if not isinstance(parent, str):
        raise RecipeError(f"{tree.mark(('extends',))}: extends", found=parent, wanted="a name")
    return tree.merged_over(_read_with_ancestors(find(parent, path.parent), children, find))


def _take_curricula(tree: MarkedTree, path: Path) -> None:
    """Lay each stage over the curriculum that it extends."""
    stages = tree.value.get("stages")
    for index, stage in enumerate(stages if isinstance(stages, list) else ()):
        if isinstance(stage, dict) and "extends" in stage:
            keys = ("stages", index)
            tree.put(keys, _over_parent(tree.below(keys), path, (), find_curriculum))

"""The recipe: one YAML file that fills everything in, read strictly.

A recipe names another one under `extends`, a stage names a curriculum there, and overrides
`key.path=value` lie on top. What comes out is one frozen `Recipe`; every mistake is reported at
once, each with the place it stands at.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from yxanul.base.errors import YxanulError, errors_at, near_miss
from yxanul.base.marked_yaml import Keys, MarkedTree, dump, read
from yxanul.base.metric_names import domain_of, matching
from yxanul.base.mistakes import in_yaml, misfit_lines, mistake_lines
from yxanul.base.recipe_files import find_curriculum, find_recipe
from yxanul.base.renamed_keys import with_todays_names
from yxanul.base.run_folder import RunFolder
from yxanul.base.settings import Misfit, Misfits, Settings
from yxanul.data.config import DataSettings
from yxanul.eval.config import EvalSettings
from yxanul.model.config import ModelSettings, beside_weights
from yxanul.monitor.config import MonitorSettings
from yxanul.optim.config import OptimSettings
from yxanul.optim.table import divided_by
from yxanul.stages.config import StageSettings, stage_optim
from yxanul.tokenizer.config import BpeSettings, TokenizerSettings
from yxanul.train.config import TrainSettings
from yxanul.train.precision.config import fp8_misfit


class RecipeError(YxanulError):
    """A recipe with mistakes: one line each, with file, line and column."""


class Recipe(Settings):
    """Everything a run depends on."""

    description: str = ""
    """One line for people who choose among recipes."""
    seed: int = Field(default=0, ge=0)
    """The one number all randomness is derived from."""
    tokenizer: TokenizerSettings | None = BpeSettings()
    """How text becomes tokens; with model.init_from it is that of the weights, and may be left
    out."""
    data: DataSettings
    """Where text comes from."""
    model: ModelSettings
    """The model's shape, or the weights that it starts from."""
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
        misfits = [*self._misfits_of_train(), *self._misfits_of_sizes()]
        for index, stage in enumerate(self.stages):
            misfits += self._misfits_of_names(index, stage)
            misfits += self._misfits_of_rules(index, stage)
            misfits += self._misfits_of_lengths(("stages", index), stage)
            misfits += self._misfits_of_warmup(("stages", index), stage)
            misfits += self._misfits_of_optim(("stages", index), stage)
        if misfits:
            raise Misfits(misfits)
        return self

    def _misfits_of_train(self) -> Iterator[Misfit]:
        if self.tokenizer is None and self.model.init_from is None:
            yield Misfit("tokenizer is null, which only goes with model.init_from", ("tokenizer",))
        strategy, optimizer = self.train.strategy, self.optim.name
        able = divided_by(strategy)
        if able and optimizer not in able:
            yield Misfit(
                f"train.strategy {strategy} goes with optim.name"
                f" {' or '.join(able)}, not {optimizer}; strategy ddp does",
                ("train", "strategy"),
                ("optim", "name"),
            )
        domain = domain_of(self.train.checkpoint.best)
        if domain is not None and domain not in self.data.sources:
            yield self._unknown_source(domain, ("train", "checkpoint", "best"))
        if self.train.precision == "fp8" and (misfit := fp8_misfit(self.model)):
            yield Misfit(
                f"train.precision fp8 wants multiples of 16; model.{misfit}",
                ("train", "precision"),
                *(
                    ("model", name)
                    for name in misfit.split(" ")
                    if name in ModelSettings.model_fields
                ),
                ("model", "preset"),
            )

    def _misfits_of_sizes(self) -> Iterator[Misfit]:
        length, longest = self.eval.seq_len or 0, self.model.max_seq_len
        if length > longest:
            yield Misfit(
                f"eval.seq_len is {length}, more than the model's max_seq_len {longest}",
                ("eval", "seq_len"),
                ("model", "max_seq_len"),
            )
        wanted, most = self.model.vocab_size, self.max_vocab_size
        if wanted is not None and most is not None and wanted > most:
            yield Misfit(
                f"model.vocab_size is {wanted}, and the tokenizer has {most} tokens at most; leave"
                " it out, or set it to null over a preset that gives one",
                ("model", "vocab_size"),
                ("tokenizer", "vocab_size"),
                ("model", "preset"),
                ("tokenizer",),
            )

    @property
    def max_vocab_size(self) -> int | None:
        """The most tokens that the tokenizer can have; None where that is not known, or where the
        weights may know more ids than it."""
        if self.tokenizer is None or self.model.init_from is not None:
            return None
        return self.tokenizer.max_vocab_size

    def _misfits_of_names(self, index: int, stage: StageSettings) -> Iterator[Misfit]:
        at = ("stages", index)
        if stage.name in [earlier.name for earlier in self.stages[:index]]:
            yield Misfit(f"two stages have the name '{stage.name}'", (*at, "name"))
        epochs = stage.budget.epochs if isinstance(stage.budget.epochs, dict) else {}
        named = [(*at, "mix", name) for name in stage.mix]
        named += [(*at, "budget", "epochs", name) for name in epochs]
        for number, phase in enumerate(stage.curriculum):
            named += [(*at, "curriculum", number, "mix", name) for name in phase.mix or {}]
        for keys in named:
            if keys[-1] not in self.data.sources:
                yield self._unknown_source(str(keys[-1]), keys)
        for name, passes in epochs.items():
            bound = self.data.sources[name].max_epochs if name in self.data.sources else None
            if bound is not None and passes > bound:
                yield Misfit(
                    f"stage '{stage.name}' asks for {passes:g} epochs of '{name}', whose"
                    f" max_epochs is {bound:g}",
                    (*at, "budget", "epochs", name),
                    ("data", "sources", name, "max_epochs"),
                )

    def _misfits_of_rules(self, index: int, stage: StageSettings) -> Iterator[Misfit]:
        """Yield the rules that no training could keep: nothing measures what they ask for."""
        earlier = {name for one in self.stages[:index] for name in one.domains()}
        for number, rule in enumerate(stage.gate.rules):
            keys, domain = ("stages", index, "gate", "rules", number), domain_of(rule.metric)
            if domain is not None and not matching(domain, self.data.sources):
                yield self._unknown_source(domain, (*keys, "metric"))
                continue
            for name in rule.domains_not_measured(set(stage.domains()), earlier):
                when = {"start": "this stage does not train", "best": "no earlier stage trains"}
                what = when.get(rule.against or "", f"no stage up to '{stage.name}' trains")
                yield Misfit(f"{what} on '{name}'", (*keys, "metric"), (*keys, "against"))

    def _unknown_source(self, name: str, keys: Keys) -> Misfit:
        hint = near_miss(name, self.data.sources) or f"there are {', '.join(self.data.sources)}"
        return Misfit(f"there is no source '{name}' in data.sources; {hint}", keys)

    def _misfits_of_lengths(self, at: Keys, stage: StageSettings) -> Iterator[Misfit]:
        for number, phase in enumerate(stage.curriculum):
            keys = (*at, "curriculum", number, "seq_len")
            if phase.device_batch_size is None and phase.seq_len > self.train.batch_tokens:
                yield Misfit(
                    f"stage '{stage.name}' has rows of {phase.seq_len} tokens, but a step has only"
                    f" train.batch_tokens {self.train.batch_tokens}",
                    keys,
                    ("train", "batch_tokens"),
                )
            if phase.seq_len > self.model.max_seq_len:
                yield Misfit(
                    f"stage '{stage.name}' has rows of {phase.seq_len} tokens, more than the"
                    f" model's max_seq_len {self.model.max_seq_len}",
                    keys,
                    ("model", "max_seq_len"),
                )

    def _misfits_of_warmup(self, at: Keys, stage: StageSettings) -> Iterator[Misfit]:
        own = stage.optim.schedule is not None
        schedule = stage.optim.schedule or self.optim.schedule
        for unit in ("steps", "tokens"):
            warmup, budget = getattr(schedule, f"warmup_{unit}"), getattr(stage.budget, unit)
            if warmup is not None and budget is not None and warmup >= budget:
                yield Misfit(
                    f"the warm-up of stage '{stage.name}' takes {warmup} {unit}, and its budget is"
                    f" {budget}",
                    (*(at if own else ()), "optim", "schedule", f"warmup_{unit}"),
                    (*at, "budget", unit),
                )

    def _misfits_of_optim(self, at: Keys, stage: StageSettings) -> Iterator[Misfit]:
        try:
            stage_optim(self.optim, stage)
        except ValidationError as error:
            cause = error.errors()[0].get("ctx", {}).get("error")
            keys = cause.keys if isinstance(cause, Misfit) else ()
            below = [(*at, "optim", *key) for key in keys]
            yield Misfit(f"stage '{stage.name}': {cause}", *below, *(("optim", *k) for k in keys))


def load_recipe(name: str, overrides: Sequence[str] = (), run: RunFolder | None = None) -> Recipe:
    """Read a recipe with its ancestors and overrides, checked; mistakes raise RecipeError."""
    return check_tree(read_tree(name, overrides, run))


def read_tree(name: str, overrides: Sequence[str] = (), run: RunFolder | None = None) -> MarkedTree:
    """Read a recipe with its ancestors and overrides, unchecked.

    A `run` that has checkpoints knows what it began from: then nothing is read but the recipe.
    """
    given = MarkedTree({})
    _override(given, [one for one in overrides if one.startswith("model")])
    tree = _read_with_ancestors(find_recipe(name), (), from_weights=_init_from(given) is not None)
    _override(tree, overrides)
    _take_shape(tree, run)
    return tree


def _override(tree: MarkedTree, overrides: Sequence[str]) -> None:
    for override in overrides:
        dotted, equals, text = override.partition("=")
        if not equals or not dotted:
            raise YxanulError(f"override '{override}'", wanted="key.path=value")
        tree.set(dotted, text)


def _init_from(tree: MarkedTree) -> Any:
    """Return what a tree says under model.init_from, or None."""
    model = tree.value.get("model") if isinstance(tree.value, dict) else None
    return model.get("init_from") if isinstance(model, dict) else None


def _take_shape(tree: MarkedTree, run: RunFolder | None) -> None:
    """Fill in the shape of the weights that the model starts from, where it starts from some."""
    folder = _init_from(tree)
    if not isinstance(folder, str):
        return
    tree.value.setdefault("tokenizer", None)
    given = tree.value["model"]
    begun = read(run.recipe) if run is not None and run.has_begun else MarkedTree({})
    if _init_from(begun) == folder:
        said = {name: value for name, value in given.items() if value is not None}
        given = tree.value["model"] = begun.value["model"] | said | {"preset": None}
    if ModelSettings.model_fields.keys() - {"preset"} <= given.keys():
        return  # a resolved recipe, which needs no folder
    from yxanul.bundle import read_shape

    with errors_at(f"{tree.mark(('model', 'init_from'))}: model.init_from"):
        shape = read_shape(Path(folder).expanduser())
    tree.value["model"], against = beside_weights(given, shape)
    if against:
        lines = [
            f"{tree.mark(('model', key))}: model.{key}: the weights in {folder} have {theirs};"
            f" found {given.get(key, 'another')}; leave it out"
            for key, theirs in against.items()
        ]
        raise RecipeError("\n".join(lines))


def check_tree(tree: MarkedTree) -> Recipe:
    """Turn a tree of plain data into a Recipe, or report every mistake at its place."""
    plain = json.dumps(_without_null_rate(tree.value), default=str)
    try:
        return Recipe.model_validate_json(plain, strict=True)
    except ValidationError as error:
        raise RecipeError("\n".join(mistake_lines(tree, error, Recipe))) from None


def refuse(tree: MarkedTree, misfits: Sequence[Misfit]) -> None:
    """Report what is wrong with a recipe that was read from `tree`, each at its place."""
    if misfits:
        raise RecipeError("\n".join(misfit_lines(tree, misfits)))


def _without_null_rate(recipe: Any) -> Any:
    """Let `peak_lr: null` take back what an ancestor gave, so that the usual rate holds."""
    optim = recipe.get("optim") if isinstance(recipe, dict) else None
    if not isinstance(optim, dict) or optim.get("peak_lr", "") is not None:
        return recipe
    return {**recipe, "optim": {k: v for k, v in optim.items() if k != "peak_lr"}}


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
    schema["$defs"]["OptimSettings"]["properties"]["peak_lr"]["type"] = ["number", "null"]
    for node in (schema, *schema["$defs"].values()):
        node.pop("required", None)
    return schema


def dump_recipe(recipe: Recipe) -> str:
    """Return the resolved recipe as YAML that `load_recipe` reads back to an equal one."""
    return dump(as_plain(recipe))


def as_plain(recipe: Recipe) -> dict[str, Any]:
    """Return the resolved recipe as plain data. A null is left out where that means the same."""
    return _without_usual_nulls(recipe, recipe.model_dump(mode="json"))


def _without_usual_nulls(value: Any, plain: Any) -> Any:
    """Leave out of `plain`, which `value` became, the nulls that were not given and are default."""
    if isinstance(value, dict):
        pairs = zip(value.values(), plain.items(), strict=True)
        return {key: _without_usual_nulls(inner, one) for inner, (key, one) in pairs}
    if isinstance(value, tuple):
        return [_without_usual_nulls(*pair) for pair in zip(value, plain, strict=True)]
    if not isinstance(value, Settings):
        return plain
    fields = type(value).model_fields
    return {
        name: _without_usual_nulls(getattr(value, name), inner)
        for name, inner in plain.items()
        if inner is not None or fields[name].default is not None or name in value.model_fields_set
    }


def _read_with_ancestors(
    path: Path,
    children: tuple[Path, ...],
    find: Callable[[str, Path], Path] = find_recipe,
    from_weights: bool = False,
) -> MarkedTree:
    tree = read(path)
    if not isinstance(tree.value, dict):
        found = "nothing" if tree.value is None else in_yaml(tree.value)
        raise YxanulError(f"{path} is not a recipe", found=found, wanted="a mapping of sections")
    if path.name == "recipe.yaml" and RunFolder(path.parent).tokenizer.exists():
        tree.value = with_todays_names(tree.value)
    _take_curricula(tree, path)
    return _over_parent(tree, path, (*children, path.resolve()), find, from_weights)


def _over_parent(
    tree: MarkedTree,
    path: Path,
    children: tuple[Path, ...],
    find: Callable[[str, Path], Path],
    from_weights: bool = False,
) -> MarkedTree:
    """Lay a mapping over what its `extends` names, if it has one.

    Where it starts from weights they say what model and tokenizer are, not its ancestors.
    """
    parent = tree.value.pop("extends", None)
    if parent is None:
        return tree
    place = f"{tree.mark(('extends',))}: extends"
    if not isinstance(parent, str):
        raise RecipeError(place, found=in_yaml(parent), wanted="a name")
    with errors_at(place):
        found = find(parent, path.parent)
    if found.resolve() in children:
        circle = " -> ".join(map(str, (*children, found.resolve())))
        raise RecipeError(f"{place}: a recipe extends itself", found=circle)
    base = _read_with_ancestors(found, children, find)
    if from_weights or _init_from(tree) is not None:
        for section in ("model", "tokenizer"):
            base.value.pop(section, None)
    return tree.merged_over(base)


def _take_curricula(tree: MarkedTree, path: Path) -> None:
    """Lay each stage over the curriculum that it extends."""
    stages = tree.value.get("stages")
    for index, stage in enumerate(stages if isinstance(stages, list) else ()):
        if isinstance(stage, dict) and "extends" in stage:
            keys = ("stages", index)
            tree.put(keys, _over_parent(tree.below(keys), path, (), find_curriculum))

"""The recipe: everything a run depends on, as one frozen value. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from yxanul.base.errors import near_miss
from yxanul.base.metric_names import domain_of, matching
from yxanul.base.settings import Misfit, Misfits, Settings
from yxanul.data.config import DataSettings
from yxanul.eval.config import EvalSettings
from yxanul.model.config import ModelSettings
from yxanul.monitor.config import MonitorSettings
from yxanul.optim.config import OptimSettings
from yxanul.optim.table import divided_by
from yxanul.recipe.source_map import Keys, dump
from yxanul.stages.config import StageSettings, stage_optim
from yxanul.tokenizer.config import BpeSettings, TokenizerSettings
from yxanul.train.config import TrainSettings
from yxanul.train.mixed_precision.config import fp8_misfit


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

"""The recipe: all settings of a run, as one frozen object. Does not import torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from yxanul.base.errors import did_you_mean
from yxanul.base.metric_names import domain_of, matching, task_of
from yxanul.base.settings import Misfit, Misfits, Settings
from yxanul.data.config import DataSettings
from yxanul.eval.config import EvalSettings
from yxanul.model.config import ModelSettings
from yxanul.model.zoo import PRESETS
from yxanul.monitor.config import MonitorSettings
from yxanul.optim.config import OptimSettings
from yxanul.optim.table import divided_by
from yxanul.recipe.source_map import Keys, dump
from yxanul.stages.config import RaiseReplay, Rule, StageSettings, stage_optim
from yxanul.tokenizer.config import BpeSettings, TokenizerSettings
from yxanul.train.config import MAX_ROWS, TrainSettings, rows_of_step
from yxanul.train.mixed_precision.config import fp8_misfit


class Recipe(Settings):
    """All settings of a run."""

    description: str = ""
    """One-line description."""
    seed: int = Field(default=0, ge=0)
    """Seed of all randomness."""
    tokenizer: TokenizerSettings | None = BpeSettings()
    """Tokenizer; may be left out with model.init_from, which brings its own."""
    data: DataSettings
    """Training and held-out text."""
    model: ModelSettings
    """Model architecture, or the weights to start from."""
    optim: OptimSettings = OptimSettings()
    """Optimizer, learning rate and schedule."""
    train: TrainSettings = TrainSettings()
    """Precision, device, batch, checkpoints."""
    stages: tuple[StageSettings, ...] = Field(min_length=1)
    """Stages of training, in order, with their gates."""
    monitor: MonitorSettings = MonitorSettings()
    """Trackers and alerts."""
    eval: EvalSettings = EvalSettings()
    """Evaluation on held-out text."""

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
            misfits += self._misfits_of_optim(("stages", index), stage)
        misfits += self._misfits_of_replay()
        if misfits:
            raise Misfits(misfits)
        return self

    def _misfits_of_train(self) -> Iterator[Misfit]:
        if self.tokenizer is None and self.model.init_from is None:
            yield Misfit("tokenizer is null, which requires model.init_from", ("tokenizer",))
        strategy, optimizer = self.train.strategy, self.optim.name
        able = divided_by(strategy)
        if able and optimizer not in able:
            yield Misfit(
                f"train.strategy {strategy} requires optim.name"
                f" {' or '.join(able)}, got {optimizer}; ddp supports all optimizers",
                ("train", "strategy"),
                ("optim", "name"),
            )
        domain = domain_of(self.train.checkpoint.best)
        if domain is not None and domain not in self.data.sources:
            yield self._unknown_source(domain, ("train", "checkpoint", "best"))
        best, regular = self.train.checkpoint.best, [t for t in self.eval.tasks if t.every_steps]
        if task_of(best) and not any(best in task.metrics for task in regular):
            yield Misfit(
                f"train.checkpoint.best is {best}, which is not measured during training;"
                " add the task to eval.tasks, with every_steps",
                ("train", "checkpoint", "best"),
            )
        if self.train.precision == "fp8" and (misfit := fp8_misfit(self.model)):
            yield Misfit(
                f"train.precision fp8 requires dimensions divisible by 16; model.{misfit}",
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
                f"eval.seq_len is {length}, more than model.max_seq_len {longest}",
                ("eval", "seq_len"),
                ("model", "max_seq_len"),
            )
        given, largest = self.model.vocab_size, self.max_vocab_size
        if given is not None and largest is not None and given > largest:
            preset = self.model.preset
            of_preset = PRESETS.get(preset or "", {}).get("vocab_size") == given
            whose = f"the vocab_size of preset {preset}" if of_preset else "model.vocab_size"
            yield Misfit(
                f"{whose} is {given}, but the recipe's tokenizer has at most {largest} tokens; set"
                " model.vocab_size to null to use the tokenizer's",
                ("model", "vocab_size"),
                ("tokenizer", "vocab_size"),
                ("model", "preset"),
                ("tokenizer",),
            )

    @property
    def max_vocab_size(self) -> int | None:
        """Largest possible vocabulary of the tokenizer; None if unknown, or with model.init_from,
        whose weights may have more ids."""
        if self.tokenizer is None or self.model.init_from is not None:
            return None
        return self.tokenizer.max_vocab_size

    def _misfits_of_names(self, index: int, stage: StageSettings) -> Iterator[Misfit]:
        at = ("stages", index)
        if stage.name in [earlier.name for earlier in self.stages[:index]]:
            yield Misfit(f"duplicate stage name '{stage.name}'", (*at, "name"))
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
                    f"stage '{stage.name}' has {passes:g} epochs of '{name}', more than its"
                    f" max_epochs {bound:g}",
                    (*at, "budget", "epochs", name),
                    ("data", "sources", name, "max_epochs"),
                )

    def _misfits_of_replay(self) -> Iterator[Misfit]:
        """Yield replay in the first stage, which has no earlier ones."""
        stage = self.stages[0]
        wanted = [("stages", 0, "replay")] if stage.replay else []
        if any(isinstance(attempt, RaiseReplay) for attempt in stage.attempts):
            wanted.append(("stages", 0, "on_fail"))
        for keys in wanted:
            yield Misfit(f"stage '{stage.name}' is the first: there is nothing to replay", keys)

    def _misfits_of_rules(self, index: int, stage: StageSettings) -> Iterator[Misfit]:
        """Yield rules on metrics that are never measured."""
        earlier = {name for one in self.stages[:index] for name in one.domains()}
        rules = [
            (("stages", index, "gate", kind, number), rule)
            for kind in ("rules", "targets")
            for number, rule in enumerate(getattr(stage.gate, kind))
        ]
        for keys, rule in rules:
            domain = domain_of(rule.metric)
            if task_of(rule.metric):
                yield from self._misfits_of_task_rule(index, rule, keys)
                continue
            if domain is not None and not matching(domain, self.data.sources):
                yield self._unknown_source(domain, (*keys, "metric"))
                continue
            for name in rule.domains_not_measured(set(stage.domains()), earlier):
                reasons = {"start": "this stage does not train", "best": "no earlier stage trains"}
                why = reasons.get(rule.against or "", f"no stage up to '{stage.name}' trains")
                yield Misfit(f"{why} on '{name}'", (*keys, "metric"), (*keys, "against"))

    def _misfits_of_task_rule(self, index: int, rule: Rule, keys: Keys) -> Iterator[Misfit]:
        bound, is_target = None if rule.against else rule.at_least, "targets" in keys
        problem = self.eval.problem_with(rule.metric, bound, is_target=is_target)
        if problem is not None:
            key = "at_least" if problem.startswith("at_least") else "metric"
            yield Misfit(problem, (*keys, key))
        elif rule.against == "best" and not index:
            problem = "against best needs an earlier stage, and this is the first; use start"
            yield Misfit(problem, (*keys, "against"))
        elif rule.against == "best" and not any(
            matching(rule.metric, task.metrics) for task in self.eval.tasks
        ):
            yield Misfit(
                f"{rule.metric} against best needs the task in eval.tasks: earlier gates measure"
                " only those",
                (*keys, "metric"),
            )

    def _unknown_source(self, name: str, keys: Keys) -> Misfit:
        hint = did_you_mean(name, self.data.sources)
        hint = hint or f"expected one of {', '.join(self.data.sources)}"
        return Misfit(f"unknown source '{name}', not in data.sources; {hint}", keys)

    def _misfits_of_lengths(self, at: Keys, stage: StageSettings) -> Iterator[Misfit]:
        for number, phase in enumerate(stage.curriculum):
            keys = (*at, "curriculum", number, "seq_len")
            rows = rows_of_step(phase, self.train)
            if rows > MAX_ROWS:
                factors = ("device_batch_size", "grad_accum_steps", "devices")
                by_phase = [(*keys[:-1], name) for name in factors]
                yield Misfit(
                    f"a step of stage '{stage.name}' has {rows:,} rows, more than {MAX_ROWS:,}",
                    *(by_phase if phase.device_batch_size else [("train", "batch_tokens")]),
                )
            if phase.device_batch_size is None and phase.seq_len > self.train.batch_tokens:
                yield Misfit(
                    f"stage '{stage.name}' has seq_len {phase.seq_len}, more than"
                    f" train.batch_tokens {self.train.batch_tokens}",
                    keys,
                    ("train", "batch_tokens"),
                )
            if phase.seq_len > self.model.max_seq_len:
                yield Misfit(
                    f"stage '{stage.name}' has seq_len {phase.seq_len}, more than"
                    f" model.max_seq_len {self.model.max_seq_len}",
                    keys,
                    ("model", "max_seq_len"),
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
    """Return the JSON schema of a recipe file; no key is required, since parents may define it."""
    schema = Recipe.model_json_schema()
    schema["properties"]["extends"] = {
        "type": "string",
        "description": "Parent recipe: the name of an installed one, or a path.",
    }
    schema["$defs"]["StageSettings"]["properties"]["extends"] = {
        "type": "string",
        "description": "Curriculum of the stage: the name of an installed one, or a path.",
    }
    schema["$defs"]["OptimSettings"]["properties"]["peak_lr"]["type"] = ["number", "null"]
    for node in (schema, *schema["$defs"].values()):
        node.pop("required", None)
    return schema


def dump_recipe(recipe: Recipe) -> str:
    """Return the resolved recipe as YAML; `load_recipe` restores an equal one."""
    return dump(as_plain(recipe))


def as_plain(recipe: Recipe) -> dict[str, Any]:
    """Return the resolved recipe as JSON-compatible data, without nulls that are defaults."""
    return _without_usual_nulls(recipe, recipe.model_dump(mode="json"))


def _without_usual_nulls(value: Any, plain: Any) -> Any:
    """Remove nulls from `plain`, the dump of `value`, that are defaults and were not set."""
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

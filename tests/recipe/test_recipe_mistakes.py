"""What a wrong recipe says: a line for each mistake, at the key that has to change."""

import json
from pathlib import Path

import pytest

from recipes import TINY, write_tiny
from yxanul.base.errors import YxanulError
from yxanul.plan import preflight
from yxanul.recipe import RecipeError, check_tree, load_recipe
from yxanul.recipe.source_map import SourceMap, parse


def tree_with(*overrides: str, text: str = TINY) -> SourceMap:
    tree = parse(text, "tiny")
    for override in overrides:
        tree.set(*override.split("=", 1))
    return tree


def lines_of(tree: SourceMap) -> list[str]:
    """Return what is wrong in a recipe, by lines."""
    with pytest.raises(RecipeError) as caught:
        check_tree(tree)
    return str(caught.value).splitlines()


def line_of(*overrides: str) -> str:
    (line,) = lines_of(tree_with(*overrides))
    return line


@pytest.mark.parametrize(
    ("old", "new", "at", "key"),
    [
        ("{stories: 1.0}", "{storys: 1.0}", "storys", "stages.0.mix.storys"),
        ("len: 64, share", "len: 128, share", "seq_len: 128", "stages.0.curriculum.1.seq_len"),
        ("name: two", "name: one", "name: one\n    mix: {math", "stages.1.name"),
        ("steps: 14", "steps: 14, minutes: 2", "steps: 14", "stages.0.budget.steps"),
        ("share: 0.5}", "share: 0.6}", "share: 0.6", "stages.0.curriculum.0.share"),
        ("{metric: val/*/p", "{metric: val/xx/p", "metric: val/xx", "stages.1.gate.rules.0.metric"),
        ("against: best", "against: xz", "against: xz", "stages.1.gate.rules.0.against"),
        ("perplexity, against", "perplexity, over: all, against", "metric: val",
         "stages.1.gate.rules.0.metric"),
        (", at_most: 9", "", "{metric: val", "stages.1.gate.rules.0.at_most"),
        ("num_heads: 2", "num_heads: 5", "width: 32", "model.width"),
        ("max_tokens: 128", "seq_len: 512", "seq_len: 512", "eval.seq_len"),
        ("keep: 2", "best: val/math2/loss", "best:", "train.checkpoint.best"),
        ("builtin, domain: stories, documents: 120", "text", "stories:",
         "data.sources.stories.path"),
        ("ffn_width: 64", "vocab_size: 999", "vocab_size", "model.vocab_size"),
        ("len: 32,", "len: 32, device_batch_size: 2, devices: 9000000,", "device_batch_size",
         "stages.0.curriculum.0.device_batch_size"),
        ("batch_tokens: 256", "batch_tokens: 1000000000000", "batch_tokens: 1",
         "train.batch_tokens"),
        ("{tokens: 2560}", "{tokens: 2560}\n    optim: {schedule: {name: linear, min_lr: 1}}",
         "min_lr", "stages.1.optim.schedule.min_lr"),
    ],
)  # fmt: skip
def test_a_mistake_stands_at_the_key_that_has_to_change(old, new, at, key):
    assert old in TINY
    text = TINY.replace(old, new, 1)
    before = text[: text.index(at)].split("\n")
    place = f"tiny:{len(before)}:{len(before[-1]) + 1}: {key}: "
    (line,) = lines_of(tree_with(text=text))
    assert line.startswith(place)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("model.max_seq_len=32", "model.max_seq_len"),
        ("train.batch_tokens=16", "train.batch_tokens"),
        ("model.num_heads=5", "model.num_heads"),
        ("optim.schedule={name: linear, min_lr: 1}", "optim.schedule.min_lr"),
        ("a.b.c=1", "a"),
    ],
)
def test_of_several_keys_the_overridden_one_has_to_change(override, key):
    for line in lines_of(tree_with(override)):
        assert line.startswith(f"override '{override}': {key}: ")


def test_of_several_keys_the_one_of_the_extending_recipe_has_to_change(tmp_path):
    write_tiny(tmp_path)
    (tmp_path / "child.yaml").write_text("extends: ./tiny.yaml\nmodel: {max_seq_len: 32}\n")
    with pytest.raises(RecipeError, match=r"^\S*child\.yaml:2:9: model\.max_seq_len"):
        load_recipe(str(tmp_path / "child.yaml"))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("stages.0.budget={epochs: 0}", "must be greater than 0, got 0"),
        ("stages.0.budget={epochs: x}", "must be a number or a mapping"),
        ("stages=[]", "must have at least 1 item"),
        ("train.micro_batch_size=x", "must be a whole number or 'auto', got 'x'"),
        ("optim.grad_clip=.inf", "must be a finite number"),
        ("seed=1e3", "must be a whole number, got 1000.0; write 1000"),
        ("model=nano", "did you mean {preset: nano}?"),
        ("stages.0.budget=60", "did you mean {minutes: 60}?"),
        ("train.device=gpu", "did you mean 'cuda'?"),
        ("stages.0.name=a b", "letters, digits, _ and -"),
        ("data.workers=true", "must be a whole number, got true"),
        ("stages.0.budget={steps:9}", "a ': ' is missing after 'steps'"),
        ("extends=base", "extends is only"),
        ("data.sources.stories={kind: builtin, domain: math, path: x}", "only kind text or jsonl"),
        ("optim.warmup_steps=3", "did you mean optim.schedule.warmup_steps?"),
        ("stages.0.budget={tokens: 1.5B}", "got '1.5B'; write 1500000000"),
        ("optim.peak_lr='3e-4'", "must be a number, got '3e-4'; write 0.0003"),
        ("data.validation_fraction=5%", "must be a number, got '5%'; write 0.05"),
        ("train.device=CPU", "got 'CPU'; did you mean 'cpu'?"),
        ("train=null", "got null; leave it out"),
        ("data.deduplicate=true", "got true; write {} for the defaults"),
        ("data.sources.x=a/b.txt", "did you mean {kind: ..., path: a/b.txt}?"),
        ("data.sources.story.path=x", "kind: this key is missing; did you mean 'stories'?"),
        ("data.sources.wiki.path=x", "this key is missing; data.sources has stories, math"),
        ("data.sources.stories.kind=csv", "got 'csv'; did you mean 'text'?"),
        ("data.sources.stories.type=plain", "use 'data.sources.stories.kind'"),
        ("train.seed=3", "unknown key; did you mean seed"),
        ("stages.0.tokens_per_batch=3", "unknown key; expected one of budget, curriculum"),
        ("stages.1.on_fail={retry: 1}", "unknown key; expected one of extend, replay, rollback"),
        ("stages.1.on_fail=[{retry: 1}]", "unknown key; expected one of extend, replay, rollback"),
        ("stages.1.on_fail=[{extend: {}}, stop]", "got 'stop'; leave it out: the run stops"),
        ("stages.1.on_fail={extend: {sharee: 1}}", "did you mean 'share'?"),
        ("stages.0.budget={steps: 10000000000000}", "must be at most 1000000000000, got"),
        ("stages.0.budget={epochs: 1e300}", "must be at most 1e+06, got 1e+300"),
    ],
)
def test_a_wrong_value_in_plain_words(override, said):
    assert said in line_of(override)


@pytest.mark.parametrize(
    ("wrong", "ours"),
    [
        ("n_layer", "model.depth"),
        ("model.hidden_size", "model.width"),
        ("model.block_size", "model.max_seq_len"),
        ("learning-rate", "optim.peak_lr"),
        ("train.lr", "optim.peak_lr"),
        ("max_steps", "stages.N.budget.steps"),
        ("stages.0.max_steps", "stages.0.budget.steps"),
        ("stages.0.curriculum.1.block_size", "stages.0.curriculum.1.seq_len"),
        ("train.batch_size", "train.batch_tokens"),
        ("gradient_accumulation_steps", "stages.N.curriculum.N.grad_accum_steps"),
        ("stages.1.lr", "stages.1.optim.peak_lr"),
        ("stages.1.warmup_iters", "stages.1.optim.schedule.warmup_steps"),
        ("tokenizer.file", "tokenizer.path"),
        ("data.sources.stories.text_key", "data.sources.stories.text_column"),
        ("max_duration", "stages.N.budget.tokens"),
    ],
)
def test_a_key_of_another_trainer_is_answered_with_ours(wrong, ours):
    assert f"unknown key; use '{ours}'" in line_of(f"{wrong}=3")


def test_what_has_no_key_says_why():
    assert "no dropout" in line_of("model.dropout=0.1")
    assert "--out" in line_of("output_dir=x")
    assert "always packed" in line_of("sample_packing=true")
    assert "no adapters" in line_of("lora_r=8")
    assert "no experts" in line_of("model.num_local_experts=8")
    assert "train.strategy" in line_of("tensor-model-parallel-size=2")


def test_numbers_of_lists_stand_between_dots():
    with pytest.raises(YxanulError, match=r"write stages\.0\.budget\.steps=3$"):
        parse(TINY, "tiny").set("stages[0].budget[steps]", "3")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a:\n\tb: 1", "2:1: not valid YAML: a tab"),
        ("a: [1, 2\nb: 3", "a ',' or ']' is missing in the list that begins at line 1"),
        ("a: [", "not closed"),
        ('a: "x', "1:4: not valid YAML: a quoted string"),
        ("a:1\nb: 2", "may lack a space"),
        ("a: 1\n---\nb: 2", "a second document"),
        ("a: *x", "anchor &x that is not defined"),
        ("a: &x [*x]", "nested too deeply"),
        ("a: &x 1\nb: &x 2", "2:4: not valid YAML: an anchor (&name) is defined twice"),
        ("a: @x", "@ must be quoted"),
        ("a: !!binary aGk=", "1:4: the tag !!binary"),
        ("a: !!int x", "not a valid int"),
        ("{{a}}: 1", "plain text"),
        ("a: {<<: {b: 1}}", "merge keys"),
        ("a: x\x07", "1:5: not valid YAML: a control character"),
        ("a: " + "1" * 5000, "not a valid int"),
        ('a: "\\ud800"', "surrogate"),
        (
            "<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> b",
            "1:1: not valid YAML: an unresolved",
        ),
        ("a:\n  b: 1\n\u00a0\u00a0c: 2\n  d: 3", "3:1: not valid YAML: this line"),
        ("a:\n  - b: 1\n  \u2013 c: 2\n    d: 3", "3:1: not valid YAML: a dash"),
        ("a = 1\nb: 2", "1:1: not valid YAML: 'key = value'"),
    ],
)
def test_broken_yaml_in_plain_words(text, said):
    with pytest.raises(YxanulError) as caught:
        parse(text, "f")
    assert said in str(caught.value) and "got found" not in str(caught.value)


def test_aliases_of_aliases_are_refused_before_they_are_large():
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for name, inner in zip("bcdefghi", "abcdefgh", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{inner}'] * 10)}]\n"
    with pytest.raises(YxanulError, match="too large"):
        parse(bomb, "f")


def test_keys_that_look_like_other_things_stay_text():
    assert parse("{on: 1, null: 2, 1e3: 3}", "f").value == {"on": 1, "null": 2, "1e3": 3}


def misfits(*overrides: str) -> list[str]:
    recipe = check_tree(tree_with(*overrides))
    found = [*preflight.of_text(recipe), *preflight.of_training(recipe)]
    return [f"{'.'.join(map(str, one.keys[0]))}: {one}" for one in found]


def test_a_recipe_that_this_machine_can_do_has_no_misfit():
    assert misfits() == []
    assert misfits("model={preset: nano}", "train.attention=reference") == []


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model={preset: nano, width: 100000000, head_width: 64}"], "model.width: training "),
        (["model.depth=1000000000000"], "optimizer state"),
        (["data.sources.stories={kind: text, path: /no/where}"], "data.sources.stories.path: "),
        (["data.filters=[{kind: quality, function: no.py:f, at_least: 1}]"], "no.py"),
        (
            ["data.decontaminate.benchmarks={gsm8k: {path: /no/file.jsonl}}"],
            "data.decontaminate.benchmarks.gsm8k.path",
        ),
        (["data.sources.stories={kind: text, path: ~no-such-user/x}"], "home folder"),
        (["data.folder=~no-such-user/x"], "data.folder: ~no-such-user/x: the home folder"),
        (["data.folder=/proc/version"], "data.folder: /proc/version is not a folder"),
        (["eval.stride=65"], "eval.stride: eval.stride is 65"),
        (
            ["optim.schedule={warmup_tokens: 5000}", "stages.1.budget.tokens=9000"],
            "stage 'one': the warm-up",
        ),
    ],
)
def test_what_this_machine_cannot_do_is_known_before_anything_is_spent(overrides, said):
    (line,) = misfits(*overrides)
    assert said in line


@pytest.mark.parametrize("override", ["seed=1", "model.init_from=~no-such-user/run"])
def test_a_home_folder_that_is_unknown_is_one_line(override):
    name = "~no-such-user/r.yaml" if override == "seed=1" else "quickstart"
    with pytest.raises(YxanulError, match=r"~no-such-user/r\S+: .*home folder"):
        load_recipe(name, [override])


def test_what_needs_a_gpu_or_a_package_is_known_too(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(preflight, "find_spec", lambda name: None)
    assert "train.device: " in misfits("train.device=cuda")[0]
    assert "train.attention: 'flash'" in misfits("train.attention=flash")[0]
    assert "wandb" in misfits("monitor.trackers=[wandb]")[0]
    assert "'ray'" in misfits("data.executor=ray")[0]


@pytest.mark.parametrize("name", ["four-stages", "fineweb-ultra"])
def test_large_models_can_be_shown_on_small_machines(name, monkeypatch):
    monkeypatch.setattr("yxanul.train.memory.device_memory", lambda device: 1 << 30)
    recipe = load_recipe(name)
    (misfit,) = preflight.of_memory(recipe)
    assert "at least" in str(misfit) and "1.0 GiB" in str(misfit)
    assert json.dumps(recipe.model_dump(mode="json"))


def test_a_folder_that_may_not_be_written_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(preflight.os, "access", lambda place, mode: False)
    assert "is not writable" in misfits(f"data.folder={tmp_path}/new")[0]
    assert not Path(tmp_path / "new").exists()

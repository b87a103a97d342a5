import json
import os
from pathlib import Path

import pytest
import yaml

from recipes import TINY, write_tiny
from yxanul.base.errors import YxanulError
from yxanul.optim.config import OptimSettings
from yxanul.recipe import (
    Recipe,
    RecipeError,
    dump_recipe,
    load_recipe,
)
from yxanul.stages.config import stage_optim


def mistakes(folder: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(write_tiny(folder, text)), overrides)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("number", ["1e-5", "1E-5", "0.00001", "1.0e-5", ".1e-4"])
def test_every_way_to_write_a_number_is_a_number(tmp_path, number):
    recipe = load_recipe(str(write_tiny(tmp_path)), [f"optim.peak_lr={number}"])
    assert recipe.optim.peak_lr == 1e-5


def test_an_unknown_key_names_place_and_near_miss(tmp_path):
    (line,) = mistakes(tmp_path, TINY.replace("width: 32", "widht: 32, width: 32"))
    assert line.startswith(f"{tmp_path}/tiny.yaml:10:9: model.widht: unknown key")
    assert "'width'?" in line


def test_a_near_miss_inside_a_source_and_a_phase(tmp_path):
    text = TINY.replace("domain: stories, documents", "domain: stories, docments")
    assert "'documents'?" in mistakes(tmp_path, text)[0]
    text = TINY.replace("lr_scale", "rate_scal")
    assert (
        "stages.0.curriculum.1.rate_scal: unknown key; did you mean 'lr_scale'?"
        in (mistakes(tmp_path, text)[0])
    )


def test_all_mistakes_at_once(tmp_path):
    text = TINY.replace("seed: 7", "seed: minus").replace("depth: 2", "depht: 2")
    lines = mistakes(tmp_path, text)
    assert any(":2:1: seed: " in line and "'minus'" in line for line in lines)
    assert any("model.depht: unknown key; did you mean 'depth'?" in line for line in lines)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("num_heads: 2", "num_heads: 7", "7"),
        ("peak_lr: 1e-2", "peak_lr: -1", "peak_lr"),
        ("name: linear_to_zero", "name: cosine, min_lr: 1", "above peak_lr"),
        ("budget: {steps: 14}", "budget: {steps: 14, tokens: 3}", "steps and tokens"),
        ("budget: {steps: 14}", "budget: {}", "none"),
        ("mix: {stories: 1.0}", "mix: {storys: 1.0}", "did you mean 'stories'?"),
        ("mix: {stories: 1.0}", "mix: {stories: 0}", "above 0"),
        ("seq_len: 64, share: 0.5", "seq_len: 64, share: 0.6", "add up to 1"),
        ("seq_len: 64, share: 0.5", "seq_len: 128, share: 0.5", "max_seq_len"),
        ("name: two", "name: one", "duplicate stage name 'one'"),
        ("metric: val/*/p", "metric: val/code/p", "'code'"),
        ("precision: fp32", "precision: fp64", "fp64"),
        ("kind: byte", "kind: bite", "bite"),
        ("workers: 1", "workers: [1]", "workers"),
        ("depth: 2", "depth: two", "depth"),
        ("depth: 2", "depth: true", "depth"),
        ("precision: fp32", "precision: fp8\n  strategy: deepspeed", "does not support fp8"),
        ("precision: fp32", "deepspeed: ds.json", "needs strategy deepspeed"),
        ("keep: 2", "best: val/storys/loss", "did you mean 'stories'?"),
        ("keep: 2", "best: val/stories/los", "did you mean 'val/stories/loss'?"),
    ],
)
def test_contradictions_are_refused_before_work_starts(tmp_path, old, new, said):
    assert old in TINY
    assert said in "\n".join(mistakes(tmp_path, TINY.replace(old, new)))


@pytest.mark.parametrize(("strategy", "optimizer"), [("fsdp", "sophia"), ("deepspeed", "muon")])
def test_a_strategy_names_the_optimizers_that_it_can_divide(tmp_path, strategy, optimizer):
    text = TINY.replace("name: adamw", f"name: {optimizer}")
    (line,) = mistakes(tmp_path, text.replace("precision: fp32", f"strategy: {strategy}"))
    assert f"train.strategy {strategy} requires optim.name adamw" in line and optimizer in line


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "stories, documents: 120",
            "stories, filters: [{kind: lenght, min_chars: 3}]",
            ":6:58: data.sources.stories.filters.0.kind: must be 'length', 'score',"
            " 'value', 'language', 'repetition', 'quality', got 'lenght'; did you mean 'length'?",
        ),
        (
            "kind: byte",
            "kind: bytes",
            ":3:13: tokenizer.kind: must be 'byte', 'bpe', 'superbpe', 'gpt2',"
            " 'superbpe-t80k', 'file', got 'bytes'; did you mean 'byte'?",
        ),
        (
            "kind: builtin, domain: stories",
            "domain: stories",
            ":6:5: data.sources.stories.kind: this key is missing",
        ),
        (
            "name: adamw",
            "name: adam",
            ":11:9: optim.name: must be 'adamw', 'muon', 'lion', 'sophia' or 'adafactor',"
            " got 'adam'; did you mean 'adamw'?",
        ),
        ("width: 32, ", "", ":10:1: model.width: this key is missing"),
    ],
)
def test_a_mistake_is_one_line_with_what_was_meant(tmp_path, old, new, line):
    assert mistakes(tmp_path, TINY.replace(old, new)) == [f"{tmp_path}/tiny.yaml{line}"]


def test_a_wrong_stage_is_no_missing_stage(tmp_path):
    """Nor are phases too few because one of them is wrong."""
    one = TINY[: TINY.index("  - name: two")] + TINY[TINY.index("eval:") :]
    (line,) = mistakes(tmp_path, one.replace("mix:", "mixx:"))
    assert "stages.0.mixx: unknown key; did you mean 'mix'?" in line
    lines = mistakes(tmp_path, one.replace("seq_len: 32", "seq_len: 0").replace(", clip: 0.7", ""))
    assert [line.partition(": ")[2] for line in lines] == [
        "stages.0.curriculum.0.seq_len: must be greater than 0, got 0"
    ]
    empty = "stages: must have at least 1 item"
    assert empty in mistakes(tmp_path, one, "stages=[]")[0]


@pytest.mark.parametrize(
    ("overrides", "rate"),
    [
        ([], 3e-3),
        (["optim.name=lion"], 1e-3),
        (["optim.name=lion", "model.width=768"], 2e-4),
        (["optim.peak_lr=5e-4"], 5e-4),
        (["optim.peak_lr=null"], 3e-3),
    ],
)
def test_a_rate_that_is_not_given_fits_optimizer_and_model(tmp_path, overrides, rate):
    """The resolved recipe has it in figures."""
    text = TINY.replace("peak_lr: 1e-2, ", "")
    recipe = load_recipe(str(write_tiny(tmp_path, text)), overrides)
    assert recipe.optim.peak_lr == rate
    assert yaml.safe_load(dump_recipe(recipe))["optim"]["peak_lr"] == rate
    (tmp_path / "copy.yaml").write_text(dump_recipe(recipe))
    assert load_recipe(str(tmp_path / "copy.yaml")) == recipe


def test_a_rate_of_a_stage_lies_over_the_usual_one(tmp_path):
    path = str(write_tiny(tmp_path, TINY.replace("peak_lr: 1e-2, ", "")))
    recipe = load_recipe(path, ["stages.1.optim={peak_lr: 7e-4}"])
    rates = [stage_optim(recipe.optim, stage).peak_lr for stage in recipe.stages]
    assert rates == [3e-3, 7e-4]


def test_a_peak_of_a_stage_scales_the_matrices_too(tmp_path):
    path = str(write_tiny(tmp_path))
    muon = ["optim={name: muon, peak_lr: 1e-2, muon_lr: 3e-2}", "stages.1.optim={peak_lr: 5e-3}"]
    recipe = load_recipe(path, muon)
    assert [stage_optim(recipe.optim, one).muon_lr for one in recipe.stages] == pytest.approx(
        [3e-2, 1.5e-2]
    )
    recipe = load_recipe(path, [*muon, "stages.1.optim.muon_lr=1e-3"])
    assert stage_optim(recipe.optim, recipe.stages[1]).muon_lr == 1e-3


def test_null_takes_back_the_rate_of_an_ancestor(tmp_path):
    assert load_recipe("stage1-wikipedia", ["optim.peak_lr=null", "optim.schedule={}"]).optim == (
        load_recipe("stage1-wikipedia", ["optim.peak_lr=6e-4", "optim.schedule={}"]).optim
    )


def test_a_floor_above_the_usual_rate_is_refused(tmp_path):
    schedule = "schedule: {name: linear, min_lr: 2e-3,"
    text = TINY.replace("peak_lr: 1e-2, schedule: {name: linear_to_zero,", schedule)
    assert load_recipe(str(write_tiny(tmp_path, text))).optim.schedule.min_lr == 2e-3
    (line,) = mistakes(tmp_path, text, "model.width=768")
    assert "min_lr (0.002) is above peak_lr (0.0006)" in line


def test_a_recipe_needs_no_word_on_the_optimizer(tmp_path):
    text = TINY.replace("optim:", "description: without optim #")
    assert load_recipe(str(write_tiny(tmp_path, text))).optim == OptimSettings(peak_lr=3e-3)


def test_extends_merges_and_replaces_other_kinds(tmp_path):
    write_tiny(tmp_path)
    child = tmp_path / "child.yaml"
    child.write_text("extends: ./tiny.yaml\ntokenizer: {kind: bpe, vocab_size: 300}\nseed: 8\n")
    recipe = load_recipe(str(child))
    assert (recipe.tokenizer.kind, recipe.seed, recipe.model.width) == ("bpe", 8, 32)


def test_a_mistake_in_an_ancestor_names_the_ancestor(tmp_path):
    write_tiny(tmp_path, TINY.replace("depth: 2", "depth: 0"))
    child = tmp_path / "child.yaml"
    child.write_text("extends: ./tiny.yaml\n")
    with pytest.raises(RecipeError, match=r"tiny\.yaml:10:"):
        load_recipe(str(child))


CURRICULUM = "budget: {steps: 9}\ncurriculum:\n  - {seq_len: 32}\n"


def of_curriculum(folder: Path, stage: str, curriculum: str = CURRICULUM) -> str:
    """Write a recipe whose only stage extends a curriculum beside it; return its path."""
    (folder / "short.yaml").write_text(curriculum)
    write_tiny(folder)
    child = folder / "child.yaml"
    child.write_text(
        "extends: ./tiny.yaml\nstages:\n  - name: a\n    extends: ./short.yaml\n"
        f"    mix: {{stories: 1}}\n{stage}"
    )
    return str(child)


def test_a_stage_lies_over_the_curriculum_that_it_extends(tmp_path):
    recipe = load_recipe(of_curriculum(tmp_path, "    budget: {steps: 5}\n"))
    (stage,) = recipe.stages
    assert (stage.budget.steps, stage.curriculum[0].seq_len) == (5, 32)
    assert (
        load_recipe(str(tmp_path / "child.yaml"), ["stages.0.curriculum.0.grad_clip=2"])
        .stages[0]
        .curriculum[0]
        .grad_clip
        == 2
    )


def test_curricula_extend_curricula(tmp_path):
    (tmp_path / "longer.yaml").write_text("budget: {steps: 77}\ncurriculum: [{seq_len: 64}]\n")
    path = of_curriculum(tmp_path, "", "extends: ./longer.yaml\nbudget: {steps: 8}\n")
    (stage,) = load_recipe(path).stages
    assert (stage.budget.steps, stage.curriculum[0].seq_len) == (8, 64)


def test_a_mistake_in_a_curriculum_names_its_file(tmp_path):
    path = of_curriculum(tmp_path, "", CURRICULUM.replace("seq_len", "seqlen"))
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    place = f"{tmp_path}/short.yaml:3:6: stages.0.curriculum.0.seqlen: unknown key"
    assert place in str(caught.value)
    (tmp_path / "short.yaml").write_text(CURRICULUM)
    Path(path).write_text(Path(path).read_text().replace("mix", "mixx"))
    with pytest.raises(RecipeError, match=r"child\.yaml:5:5: stages\.0\.mixx: unknown key"):
        load_recipe(path)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("ultr", "unknown curriculum 'ultr'.*did you mean 'ultra'"),
        ("./none.yaml", "curriculum file .* not found"),
        ("3", "extends.*got 3"),
        ("./short.yaml", "extends itself"),
    ],
)
def test_a_curriculum_that_is_none_is_refused(tmp_path, named, said):
    path = of_curriculum(tmp_path, "", f"extends: {named}\n{CURRICULUM}")
    with pytest.raises(YxanulError, match=said):
        load_recipe(path)


def test_a_curriculum_is_no_recipe():
    with pytest.raises(YxanulError, match="`extends: ultra`"):
        load_recipe("ultra")


def test_a_stage_needs_no_mix_where_each_phase_has_one(tmp_path):
    own = TINY.replace("    mix: {stories: 1.0}\n", "").replace(
        "share: 0.5", "share: 0.5, mix: {math: 1}"
    )
    recipe = load_recipe(str(write_tiny(tmp_path, own)))
    assert recipe.stages[0].domains() == ["math"]
    one = own.replace("share: 0.5, mix: {math: 1}}", "share: 0.5}")
    assert "above 0" in "\n".join(mistakes(tmp_path, one))


def test_phases_in_tokens_have_to_reach_the_budget(tmp_path):
    text = TINY.replace("steps: 14", "tokens: 300").replace("share: 0.5", "tokens: 100")
    assert "200, less than the budget's 300" in mistakes(tmp_path, text)[0]
    assert load_recipe(str(write_tiny(tmp_path, text.replace("300", "200")))).stages


def test_null_over_a_preset_reads_back_as_null(tmp_path):
    recipe = load_recipe("stage1-wikipedia", ["model.vocab_size=null"])
    (tmp_path / "copy.yaml").write_text(dump_recipe(recipe))
    assert load_recipe(str(tmp_path / "copy.yaml")).model.vocab_size is None


def test_a_preset_with_a_vocabulary_of_its_own_says_how_to_use_another():
    with pytest.raises(RecipeError, match=r"vocab_size of preset yxanul-317m is 50257.* to null"):
        load_recipe("own-text", ["model.preset=yxanul-317m"])


def test_a_circle_of_extends_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("extends: ./b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: ./a.yaml\n")
    with pytest.raises(YxanulError, match="extends itself"):
        load_recipe(str(tmp_path / "a.yaml"))


@pytest.mark.parametrize(
    ("parent", "said"),
    [
        ("./tinny.yaml", "recipe file .* not found; did you mean 'tiny.yaml'?"),
        ("quikstart", "unknown recipe 'quikstart'.*did you mean 'quickstart'?"),
        ("./child.yaml", "extends itself; got .*child.yaml -> .*child.yaml"),
        ("./", "is not a recipe file; got a folder"),
        ("[base]", "; got a list; expected a name"),
    ],
)
def test_an_ancestor_that_is_none_is_named_where_it_is_named(tmp_path, parent, said):
    write_tiny(tmp_path)
    path = tmp_path / "child.yaml"
    path.write_text(f"seed: 1\nextends: {parent}\n")
    with pytest.raises(YxanulError, match=rf"child\.yaml:2:1: extends.*{said}"):
        load_recipe(str(path))


def test_weights_that_are_nowhere_are_named_where_they_are_named(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text("model: {init_from: nowhere}\n")
    with pytest.raises(YxanulError, match=r"tiny\.yaml:1:9: model\.init_from: .*nowhere"):
        load_recipe(str(path))


def test_overrides_reach_into_lists(tmp_path):
    recipe = load_recipe(
        str(write_tiny(tmp_path)), ["stages.0.budget={tokens: 1024}", "stages.1.mix.math=2"]
    )
    assert recipe.stages[0].budget.tokens == 1024
    assert recipe.stages[1].mix == {"math": 2, "stories": 0.25}


def test_a_wrong_override_names_itself(tmp_path):
    assert "override 'model.widht=3'" in mistakes(tmp_path, TINY, "model.widht=3")[0]
    for override in ("stages.9.name=x", "nothing", "=3", "seed.x=1"):
        with pytest.raises(YxanulError):
            load_recipe(str(write_tiny(tmp_path)), [override])


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "seed: 1\nseed: 2\n", "\tx: 1"])
def test_broken_files_are_one_line(tmp_path, text):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(YxanulError) as caught:
        load_recipe(str(path))
    assert "broken.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_file_of_a_recipe_says_what_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path)
    os.mkfifo("pipe.yaml")
    Path("lost.yaml").symlink_to("gone.yaml")
    Path("run").mkdir()
    Path("run/recipe.yaml").write_text(TINY)
    for name, said in (
        ("run", "run is not a recipe file; got a folder; did you mean 'run/recipe.yaml'?"),
        ("pipe.yaml", "pipe.yaml is not a recipe file; got a pipe, a socket or a device"),
        ("lost.yaml", "recipe file lost.yaml not found; got a broken link to gone.yaml"),
        ("tinny.yaml", "did you mean 'tiny.yaml'?"),
        ("tiny", "did you mean 'tiny.yaml'?"),
        ("seed=3", "before the overrides"),
        ("", "unknown recipe ''"),
    ):
        with pytest.raises(YxanulError) as caught:
            load_recipe(name)
        assert said in str(caught.value)


def test_a_file_needs_no_suffix_to_be_a_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path).rename("plan")
    assert load_recipe("plan").seed == 7


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_recipe_that_is_not_utf_8_names_the_place(tmp_path, encoding):
    path = tmp_path / "odd.yaml"
    path.write_bytes("seed: 1\ndescription: été".encode(encoding))
    with pytest.raises(YxanulError, match=r"odd\.yaml:[12]:\d+: not UTF-8 text; got byte 0x"):
        load_recipe(str(path))


def test_the_schema_knows_every_section():
    schema = Recipe.model_json_schema()
    assert set(schema["properties"]) >= {"tokenizer", "data", "model", "optim", "stages"}
    assert json.dumps(schema)

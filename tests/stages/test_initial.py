"""A recipe that starts from weights: of a run, or of a `transformers` folder."""

import json
import shutil

import pytest
import torch

from pairs import build_ours, draw_ids, settings_of, train_tokenizer
from recipes import TINY, write_tiny
from running import call
from sessions import assert_same_tensors, open_session, tensors_of, train
from steps import same
from yxanul.base.errors import YxanulError
from yxanul.base.run_folder import RunFolder
from yxanul.base.ui import SilentUi
from yxanul.bundle import open_bundle
from yxanul.checkpoint.layout import checkpoint_path
from yxanul.data.batches import WindowShape
from yxanul.eval.perplexity import open_held_out, score_domains
from yxanul.generate.config import SampleSettings
from yxanul.generate.decode import complete
from yxanul.model.convert import write_pretrained
from yxanul.recipe import dump_recipe, load_recipe
from yxanul.stages.ledger import Entry, Ledger
from yxanul.stages.resume import reconcile_recipe

SHAPE = (
    "model: {width: 32, depth: 2, num_heads: 2, num_kv_heads: 1, ffn_width: 64, max_seq_len: 64}"
)
SHORT = ["stages.0.budget={steps: 4}", "stages.1.budget={steps: 3}", "train.checkpoint.keep=9"]


def write_recipe(folder, source, **model):
    """Write the tiny recipe as one that starts from weights; it has no shape and no tokenizer."""
    given = json.dumps({"init_from": str(source), **model})
    text = TINY.replace(SHAPE, f"model: {given}").replace("tokenizer: {kind: byte}", "")
    assert text.count("init_from") == 1 and "byte" not in text
    return str(write_tiny(folder, text))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A run with a mean of its weights."""
    folder = tmp_path_factory.mktemp("source")
    recipe = load_recipe(str(write_tiny(folder)), ["optim.ema={decay: 0.5}", *SHORT])
    train(recipe, folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A Llama that knows more ids than its tokenizer."""
    folder = tmp_path_factory.mktemp("pretrained") / "llama"
    write_pretrained(build_ours(settings_of("Llama", vocab_size=101, max_seq_len=64)), folder)
    train_tokenizer(begin="<s>").save(str(folder / "tokenizer.json"))
    return folder


def test_it_starts_where_the_source_stands(source, pretrained, tmp_path):
    """At the loss that `eval` gives, from the weights that are evaluated: the mean."""
    recipe, run = load_recipe(write_recipe(tmp_path, source), SHORT), RunFolder(tmp_path / "run")
    assert (recipe.model.width, recipe.model.max_seq_len, recipe.tokenizer) == (32, 64, None)
    session = train(recipe, run.path)
    bundle = open_bundle(source, device="cpu")
    held_out = open_held_out(run.data(None), bundle.tokenizer)
    shape = {"stories": WindowShape(64, 128, 32)}
    wanted = score_domains(bundle.model, {"stories": held_out["stories"]}, shape, SilentUi())
    ledger = Ledger.open(run.ledger)
    assert ledger.entries[0].at_start["val/stories/loss"] == wanted["stories"].loss
    facts = ledger.decisions["init_from"]
    assert facts["path"] == str(source) and facts["step"] == bundle.step and facts["digest"]
    assert session.engine.settings.init_from is None
    assert not same(tensors_of(run)["model"], bundle.model.state_dict())
    with pytest.raises(YxanulError, match="another recipe"):
        reconcile_recipe(run, load_recipe(write_recipe(tmp_path, pretrained), [], run), SilentUi())


def test_a_run_goes_on_without_its_source(source, tmp_path):
    """Stopped, with the source gone and its recipe asked again: the same as straight."""
    lent = tmp_path / "lent"
    shutil.copytree(source, lent)
    file = write_recipe(tmp_path, lent, z_loss=1e-4, num_kv_heads=None)
    straight, stopped = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "stopped")
    train(load_recipe(file, SHORT), straight.path)
    train(load_recipe(file, SHORT, stopped), stopped.path, steps=3)
    shutil.rmtree(lent)
    again = load_recipe(file, SHORT, stopped)
    assert again == load_recipe(str(straight.recipe)) and again.model.z_loss == 1e-4
    train(again, stopped.path)
    assert_same_tensors(tensors_of(straight), tensors_of(stopped))
    assert Ledger.open(stopped.ledger).entries == Ledger.open(straight.ledger).entries
    with pytest.raises(YxanulError, match=r"no run in .*lent"):
        load_recipe(file, SHORT, RunFolder(tmp_path / "new"))


@torch.no_grad()
def test_it_starts_where_a_folder_of_transformers_stands(pretrained, tmp_path):
    transformers = pytest.importorskip("transformers", reason="needs the extra 'hf'")
    recipe = load_recipe(write_recipe(tmp_path, pretrained), SHORT)
    session = open_session(recipe, tmp_path / "run")
    model = session.engine.mixed_precision.master_model
    ids = draw_ids(model.settings, 19)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(pretrained)(ids).logits
    torch.testing.assert_close(model.logits(model.hidden(ids)), theirs, rtol=1e-4, atol=1e-4)
    assert session.data.tokenizer.vocab_size == 101
    session.close()


def test_what_came_of_a_folder_of_transformers_is_a_run(pretrained, tmp_path):
    """Also for ids that no token has, which the model may well choose."""
    recipe = load_recipe(write_recipe(tmp_path, pretrained), SHORT)
    bundle = open_bundle(train(recipe, tmp_path / "run").run.path)
    assert bundle.model.settings.known_vocab_size == bundle.tokenizer.vocab_size == 101
    settings = SampleSettings(max_tokens=40, temperature=50.0)
    assert complete(bundle.model, bundle.tokenizer, "The fox", settings)[0].text


def test_other_weights_at_a_fresh_start_are_the_new_ones(source, tmp_path):
    lent = tmp_path / "lent"
    shutil.copytree(source, lent)
    recipe, run = load_recipe(write_recipe(tmp_path, lent), SHORT), RunFolder(tmp_path / "run")
    open_session(recipe, run.path).close()
    before = Ledger.open(run.ledger)
    before.entries.append(Entry("one", "running", 0, 0, 0, {}))  # it ended before a checkpoint
    before.write()
    (lent / "best").unlink(missing_ok=True)
    shutil.rmtree(checkpoint_path(lent / "checkpoints", open_bundle(source).step))
    session = open_session(recipe, run.path)
    session.close()
    after = Ledger.open(run.ledger)
    assert after.decisions["init_from"]["digest"] != before.decisions["init_from"]["digest"]
    assert not after.entries


@pytest.mark.parametrize(
    ("model", "overrides", "said"),
    [
        ({"width": 64}, [], r"tiny.yaml:\d+:\d+: model.width: .*; got 64; expected 32"),
        ({"depth": 3, "ffn": "gelu"}, [], r"model.depth: .*\n.*model.ffn: .* expected swiglu"),
        ({"preset": "nano"}, [], r"model.width: .* expected 32"),
        ({"preset": "nanno"}, [], "unknown preset 'nanno'"),
        ({"widht": 32}, [], "model.widht: unknown key"),
        ({}, ["model.vocab_size=300"], "vocab_size: .*; got 300; expected 257"),
        ({}, ["model.init_from=nowhere"], "no run in nowhere"),
        ({}, ["model.init_from=."], "has no checkpoint; give a run folder"),
        ({}, ["model.init_from=3"], "model.init_from: must be text"),
        ({}, ["model.max_seq_len=32"], "seq_len 64, more than model.max_seq_len 32"),
        ({"init_from": None}, [], "model.width: this key is missing"),
    ],
)  # fmt: skip
def test_what_goes_against_the_weights_is_refused(source, tmp_path, model, overrides, said):
    with pytest.raises(YxanulError, match=said):
        load_recipe(write_recipe(tmp_path, source, **model), overrides)


def test_what_agrees_with_the_weights_or_leaves_them_alone(source, tmp_path):
    file = write_recipe(tmp_path, source, width=32, num_kv_heads=None, max_seq_len=128, z_loss=0.1)
    recipe = load_recipe(file, ["model.rope_theta=5e5", "model.document_masking=true"])
    model = recipe.model
    assert (model.num_kv_heads, model.max_seq_len, model.rope_theta) == (1, 128, 5e5)
    assert model.document_masking and model.z_loss == 0.1
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe))
    assert load_recipe(str(tmp_path / "recipe.yaml")) == recipe


def test_the_weights_say_what_ancestors_said(source, tmp_path):
    """On the command line over an installed recipe, and in a file that extends one."""
    recipe = load_recipe("own-text", [f"model.init_from={source}", "model.max_seq_len=256"])
    assert (recipe.model.width, recipe.tokenizer) == (32, None)
    over = load_recipe("quickstart", [f"model.init_from={source}", "model.max_seq_len=256"])
    assert over.tokenizer is None and over.model.init_std == recipe.model.init_std
    child = tmp_path / "child.yaml"
    child.write_text(f"extends: own-text\nmodel: {{init_from: {source}, max_seq_len: 256}}\n")
    assert load_recipe(str(child)) == recipe
    assert load_recipe(str(child), ["tokenizer={kind: byte}"]).tokenizer.kind == "byte"


def test_a_tokenizer_may_be_given_if_it_is_the_same(source, tmp_path):
    file = write_recipe(tmp_path, source)
    digest = open_bundle(source).tokenizer.digest
    open_session(load_recipe(file, ["tokenizer={kind: byte}"]), tmp_path / "run").close()
    assert open_bundle(source).tokenizer.digest == digest
    other = load_recipe(file, ["tokenizer={kind: byte, special_tokens: [<x>]}"])
    with pytest.raises(YxanulError, match=r"tokenizer: the recipe's \(kind byte\) does not match"):
        open_session(other, tmp_path / "other")
    assert not (tmp_path / "other" / "tokenizer.json").exists()
    with pytest.raises(YxanulError, match="tokenizer is null"):
        load_recipe(str(write_tiny(tmp_path)), ["tokenizer=null"])


def test_another_source_is_taken_until_a_stage_has_begun(source, pretrained, tmp_path):
    """The tokenizer of the run is then that of the new source."""
    run = RunFolder(tmp_path / "run")
    for one, size in ((source, 257), (pretrained, 101)):
        session = open_session(load_recipe(write_recipe(tmp_path, one), SHORT, run), run.path)
        session.close()
        assert session.data.tokenizer.vocab_size == size


def test_the_verbs(source, tmp_path):
    file, out = write_recipe(tmp_path, source), tmp_path / "run"
    shown = call("show", file, "--json")
    model = json.loads(shown.out)["recipe"]["model"]
    assert (model["init_from"], model["width"]) == (str(source), 32)
    said = call("run", file, *SHORT, "--out", out, "--json")
    assert said.code == 0 and "from the weights in" in said.err
    assert json.loads(call("show", out, "--json").out)["decisions"]["init_from"]["digest"]
    error = call("prepare", file, "model.width=64", "--out", tmp_path / "no")
    assert error.code == 2 and "model.width" in error.error and not (tmp_path / "no").exists()

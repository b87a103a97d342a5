"""Folders of the `transformers` layout: read, written, and refused with the reason."""

import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from pairs import FAMILIES, build_ours, draw_ids, random_settings, settings_of
from yxanul.base.errors import YxanulError
from yxanul.model.config import ModelSettings
from yxanul.model.convert import (
    ARCHITECTURES,
    is_pretrained,
    read_pretrained,
    read_settings,
    write_pretrained,
)
from yxanul.model.convert.architectures import architecture_of, shortest_period
from yxanul.model.convert.write import architecture_for, unfactorised
from yxanul.model.language_model import LanguageModel
from yxanul.model.zoo import PRESETS

LOCAL = {"layer_pattern": "LLG", "window": 5}
SHAPES = {
    "llama": ("Llama", {"head": "untied", "vocab_size": 101}),
    "qwen3": ("Qwen3", {"head_width": 16}),
    "qwen3 with windows": ("Qwen3", LOCAL),
    "gemma3": ("Gemma3", {**LOCAL, "rope_theta_local": 100.0, "query_scale": 24**-0.5}),
}
TRAINING_ONLY = {"preset", "head_init_std", "z_loss", "document_masking"}
V4 = {
    "Llama": {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64,
              "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96,
              "rms_norm_eps": 1e-5, "rope_theta": 500.0, "rope_scaling": None,
              "torch_dtype": "float32"},
    "Qwen3": {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 64,
              "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
              "rope_theta": 1e6, "use_sliding_window": True, "sliding_window": 7,
              "max_window_layers": 3},
    "Gemma3": {"architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text",
               "num_hidden_layers": 7, "rope_theta": 2e6, "rope_local_base_freq": 3e4,
               "sliding_window": 512, "sliding_window_pattern": 3},
}  # fmt: skip


def write(folder, family="Llama", **fields):
    """Write a small model and return the folder."""
    write_pretrained(build_ours(settings_of(family, **fields)), folder)
    return folder


def load(folder):
    settings, tensors = read_pretrained(folder)
    model = LanguageModel(settings)
    model.load_state_dict(tensors)
    return model


def change_config(folder, **keys):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **keys}))


def change_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def equal(one, other):
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


def scores(model):
    return model.logits(model.hidden(draw_ids(model.settings, 19)))


def their_scores(folder, ids, **options):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, **options).eval()(ids).logits


@pytest.mark.parametrize("shape", SHAPES)
def test_ours_to_theirs_and_back(tmp_path, shape):
    family, fields = SHAPES[shape]
    model = build_ours(settings_of(family, **fields))
    write_pretrained(model, tmp_path / "model")
    assert is_pretrained(tmp_path / "model") and not is_pretrained(tmp_path)
    again = load(tmp_path / "model")
    mine, theirs = (one.settings.model_dump(exclude=TRAINING_ONLY) for one in (model, again))
    assert theirs == {**mine, "query_scale": theirs["query_scale"]}
    assert mine["query_scale"] in (None, theirs["query_scale"])
    assert equal(again.state_dict(), model.state_dict())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(4))
def test_theirs_to_ours_and_back(tmp_path, family, seed):
    transformers = pytest.importorskip("transformers", reason="needs the extra 'hf'")
    write_pretrained(build_ours(random_settings(family, seed)), tmp_path / "start")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "start")
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="2KB" if seed % 2 else "1GB")
    assert (tmp_path / "theirs" / "model.safetensors").is_file() != bool(seed % 2)
    write_pretrained(load(tmp_path / "theirs"), tmp_path / "back")
    back = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "back")
    assert equal(back.state_dict(), theirs.state_dict())
    before, after = theirs.config.to_dict(), back.config.to_dict()
    assert {key for key in before if before[key] != after[key]} <= {"_name_or_path", "rope_theta"}


@torch.no_grad()
@pytest.mark.parametrize("shape", SHAPES)
def test_transformers_loads_what_is_written(tmp_path, shape):
    pytest.importorskip("transformers", reason="needs the extra 'hf'")
    family, fields = SHAPES[shape]
    model = build_ours(settings_of(family, **fields))
    write_pretrained(model, tmp_path / "model")
    theirs = their_scores(tmp_path / "model", draw_ids(model.settings, 19))
    torch.testing.assert_close(scores(model), theirs, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("head", ["folded", "untied"])
def test_a_factorised_embedding_is_multiplied_out(tmp_path, head):
    pytest.importorskip("transformers", reason="needs the extra 'hf'")
    model = build_ours(settings_of("Llama", head=head, embedding_rank=8, vocab_size=101))
    write_pretrained(model, tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.settings.head == {"folded": "tied", "untied": "untied"}[head]
    torch.testing.assert_close(scores(again), scores(model), rtol=1e-5, atol=1e-5)
    theirs = their_scores(tmp_path / "model", draw_ids(model.settings, 19))
    torch.testing.assert_close(scores(model), theirs, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_read_as_fp32(tmp_path, dtype):
    model = build_ours(settings_of("Llama"))
    write_pretrained(model, tmp_path / "model", dtype)
    assert json.loads((tmp_path / "model" / "config.json").read_text())["dtype"] in str(dtype)
    assert load_file(tmp_path / "model" / "model.safetensors").popitem()[1].dtype == dtype
    wanted = {name: t.to(dtype).float() for name, t in model.state_dict().items()}
    assert equal(load(tmp_path / "model").state_dict(), wanted)


@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=list(ARCHITECTURES))
def test_defaults_are_those_of_transformers(architecture):
    transformers = pytest.importorskip("transformers", reason="needs the extra 'hf'")
    config = transformers.CONFIG_MAPPING[architecture.model_type](use_sliding_window=True)
    usual = transformers.CONFIG_MAPPING[architecture.model_type]()
    for name, field in architecture.model_fields.items():
        key, value = field.alias or name, field.default
        source = config if key == "sliding_window" else usual
        if value is not None and hasattr(source, key):
            assert getattr(source, key) == value, key
    read = architecture.read({}, "config.json")
    assert read.num_kv_heads == config.num_key_value_heads
    assert read.head_width == config.head_dim


def test_a_folder_of_transformers_4(tmp_path):
    def read(family, **keys):
        (tmp_path / "config.json").write_text(json.dumps({**V4[family], **keys}))
        return read_settings(tmp_path)

    llama = read("Llama")
    assert (llama.head, llama.head_width, llama.num_kv_heads) == ("untied", 16, 4)
    assert (llama.rope_theta, llama.norm_eps, llama.max_seq_len) == (500.0, 1e-5, 2048)
    assert read("Llama", architectures=None).head == "untied"
    assert read("Llama", rope_scaling={"type": "default"}).rope_theta == 500.0
    qwen = read("Qwen3")
    assert (qwen.layer_kinds, qwen.window, qwen.head_width) == ("GGGL", 7, 128)
    assert read("Qwen3", use_sliding_window=False).layer_kinds == "GGGG"
    assert read("Qwen3", sliding_window=None).layer_kinds == "GGGG"
    assert read("Qwen3", max_window_layers=0).layer_kinds == "LLLL"
    assert read("Qwen3", num_key_value_heads=None).num_kv_heads == 4
    gemma = read("Gemma3")
    assert (gemma.layer_pattern, gemma.layer_kinds, gemma.window) == ("LLG", "LLGLLGL", 512)
    assert (gemma.rope_theta, gemma.rope_theta_local) == (2e6, 3e4)
    assert (gemma.head, gemma.query_scale, gemma.head_width) == ("tied", 1 / 16, 256)
    assert gemma.norm == "zero_centered_rmsnorm" and gemma.post_norm and gemma.embedding_scale
    assert read("Gemma3", sliding_window_pattern=None).layer_kinds == "LLLLLGL"


@pytest.mark.parametrize(
    ("family", "keys"),
    [
        *((family, {}) for family in V4),
        ("Llama", {"num_key_value_heads": 2, "head_dim": 24}),
        ("Llama", {"rope_scaling": {"rope_type": "default", "rope_theta": 7.0}}),
        ("Llama", {"rope_theta": None, "rope_parameters": {"rope_theta": 7.0}}),
        ("Qwen3", {"use_sliding_window": False}),
        ("Qwen3", {"sliding_window": None}),
        ("Qwen3", {"num_key_value_heads": None, "max_window_layers": 0}),
        ("Gemma3", {"num_hidden_layers": 13, "final_logit_softcapping": 9.0}),
        ("Gemma3", {"query_pre_attn_scalar": 168, "tie_word_embeddings": False}),
    ],
)
def test_old_keys_mean_what_transformers_reads_in_them(tmp_path, family, keys):
    transformers = pytest.importorskip("transformers", reason="needs the extra 'hf'")
    (tmp_path / "config.json").write_text(json.dumps({**V4[family], **keys}))
    mine = read_settings(tmp_path)
    transformers.AutoConfig.from_pretrained(tmp_path).save_pretrained(tmp_path / "new")
    assert read_settings(tmp_path / "new") == mine


@pytest.mark.parametrize(
    ("kinds", "period"),
    [("GGG", "G"), ("LLGLLGL", "LLG"), ("LGGL", "LGG"), ("LLLG", "LLLG"), ("L", "L")],
)
def test_the_shortest_period(kinds, period):
    assert shortest_period(kinds) == period


@pytest.mark.parametrize(
    ("family", "keys", "said"),
    [
        ("Llama", {"architectures": ["MistralForCausalLM"]}, "MistralForCausalLM; expected Llama"),
        ("Llama", {"architectures": None, "model_type": "gpt2"}, "got gpt2"),
        ("Llama", {"attention_bias": True}, "attention_bias; got true; expected false"),
        ("Llama", {"mlp_bias": True}, "mlp_bias"),
        ("Llama", {"hidden_act": "relu"}, "hidden_act; got relu; expected .silu"),
        ("Llama", {"rope_scaling": {"rope_type": "llama3", "factor": 8}}, "llama3; .* scaled RoPE"),
        ("Llama", {"rope_parameters": {"rope_type": "yarn"}}, "rope_parameters.rope_type"),
        ("Llama", {"rope_parameters": {"partial_rotary_factor": 0.5}}, "expected 1$"),
        ("Llama", {"hidden_size": "64"}, "hidden_size; got 64; expected a valid integer"),
        ("Llama", {"num_key_value_heads": 3}, "unsupported num_key_value_heads; got 3; .*heads 4$"),
        ("Llama", {"num_attention_heads": 3}, "attention_heads; got 3; .*hidden_size 64"),
        ("Llama", {"head_dim": 7}, "head_dim; got 7; expected an even number"),
        ("Llama", {"num_hidden_layers": 10**9}, "num_hidden_layers; got 1000000000"),
        ("Llama", {"architectures": "LlamaForCausalLM"}, "architectures.* expected a list"),
        ("Llama", {"hidden_act": "a\nb"}, r"hidden_act; got .a.nb.; expected .silu"),
        ("Llama", {"quantization_config": {"bits": 4}}, "quantization_config"),
        ("Llama", {"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
        ("Qwen3", {"layer_types": ["full_attention"]}, "layer_types"),
        ("Qwen3", {"use_sliding_window": False, "layer_types": ["sliding_attention"] * 4},
         "use_sliding_window"),
        ("Gemma3", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping.* expected null"),
        ("Gemma3", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ("Gemma3", {"sliding_window": None}, "sliding_window; got nothing"),
        ("Gemma3", {"rope_scaling": {"factor": 8.0, "rope_type": "linear"}}, "rope_scaling"),
        ("Gemma3", {"rope_parameters": {"rope_theta": 1.0}}, "full_attention and sliding"),
        ("Gemma3", {"layer_types": ["linear_attention"] * 7}, "layer_types"),
    ],
)  # fmt: skip
def test_what_we_cannot_express_is_named(tmp_path, family, keys, said):
    (tmp_path / "config.json").write_text(json.dumps({**V4[family], **keys}))
    with pytest.raises(YxanulError, match=said):
        read_settings(tmp_path)


WRONG = (
    "", "x", "a\nb", "64", -1, 0, 3, 7, 1.5, 1e-320, 10**30, -1e400, 1e400, math.nan, True, False,
    [], [1], ["a"], [["a"]], [None], {}, {"a": 1}, {"rope_theta": []}, {"rope_type": None},
    {"full_attention": "x"}, {"full_attention": {"rope_theta": -1}}, ["x" * 999] * 999,
)  # fmt: skip


@pytest.mark.parametrize("family", V4)
def test_a_wrong_value_of_any_key_is_one_line_that_names_it(tmp_path, family):
    file = tmp_path / "config.json"
    refused, fields = 0, architecture_of(V4[family], file).model_fields
    for key in {field.alias or name for name, field in fields.items()} | {"architectures"}:
        for value in WRONG:
            config = {**V4[family], key: value}
            try:
                architecture_of(config, file).read(config, file)
            except YxanulError as error:
                said, refused = str(error), refused + 1
                named = key in said or (key == "architectures" and "architecture" in said)
                assert named and said.startswith(str(file)), (key, value, said)
                assert "\n" not in said and len(said) < 400 + len(str(file)), said
    assert refused > 400


@pytest.mark.parametrize("text", ["[]", "{", "[" * 100_000, '{"hidden_size": 1' + "0" * 5000 + "}"])
def test_a_config_that_is_no_object_is_one_line(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(YxanulError, match=r"config.json") as error:
        read_settings(tmp_path)
    assert "\n" not in str(error.value)


def test_tensors_that_do_not_fit_are_named_together(tmp_path):
    folder = write(tmp_path / "model", head="untied")

    def damage(tensors):
        del tensors["lm_head.weight"]
        tensors["model.layers.0.self_attn.q_proj.bias"] = torch.zeros(32)
        tensors["model.norm.weight"] = torch.zeros(31)
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(4)

    change_tensors(folder, damage)
    with pytest.raises(YxanulError) as error:
        read_pretrained(folder)
    for said in ("lm_head.weight is missing", "q_proj.bias is unknown", "31 instead of 32"):
        assert said in str(error.value)
    assert "inv_freq" not in str(error.value)


def test_a_head_written_out_although_tied(tmp_path):
    folder = write(tmp_path / "model")
    before = load(folder).state_dict()
    table = before["embedding.tokens"]
    change_tensors(folder, lambda tensors: tensors.update({"lm_head.weight": table.clone()}))
    assert equal(load(folder).state_dict(), before)
    change_tensors(folder, lambda tensors: tensors.update({"lm_head.weight": table + 1}))
    with pytest.raises(YxanulError, match=r"lm_head.weight differs"):
        load(folder)


def test_weights_that_are_not_whole(tmp_path):
    folder = write(tmp_path / "model")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(YxanulError, match="not a complete safetensors"):
        load(folder)
    weights.rename(folder / "pytorch_model.bin")
    with pytest.raises(YxanulError, match=r"pytorch_model.bin; .*save_pretrained"):
        load(folder)
    index = {"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(YxanulError, match=r"00001-of-00002.safetensors is missing"):
        load(folder)
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(YxanulError, match="has no weight_map"):
        load(folder)


def test_integers_are_no_weights(tmp_path):
    folder = write(tmp_path / "model")
    change_tensors(folder, lambda ts: ts.update({"model.norm.weight": torch.ones(32).char()}))
    with pytest.raises(YxanulError, match=r"model.norm.weight; got int8; expected float32"):
        load(folder)


@pytest.mark.parametrize(
    ("family", "fields", "said"),
    [
        ("Llama", {"norm": "layernorm"}, "got norm 'layernorm'; expected norm 'rmsnorm' .Llama"),
        ("Llama", {"positions": "learned"}, "got positions 'learned'"),
        ("Llama", {"ffn": "relu2"}, "got ffn 'relu2'"),
        ("Llama", LOCAL, "Llama|Qwen3"),
        ("Llama", {"width": 33, "head_width": 8}, "a multiple of num_heads 4"),
        ("Qwen3", {**LOCAL, "rope_theta_local": 5.0}, "rope_theta_local 5.0"),
        ("Gemma3", {"query_scale": 0.3}, "got query_scale 0.3"),
        ("Gemma3", {"post_norm": False}, "got post_norm False"),
    ],
)
def test_a_model_that_nobody_expresses_is_refused(tmp_path, family, fields, said):
    with pytest.raises(YxanulError, match=said):
        write(tmp_path / "model", family, **fields)
    assert not (tmp_path / "model").exists()


def test_nothing_is_overwritten(tmp_path):
    folder = write(tmp_path / "model")
    before = load(folder).state_dict()
    with pytest.raises(YxanulError, match="already exists"):
        write(folder, "Qwen3")
    assert equal(load(folder).state_dict(), before)
    shutil.rmtree(folder)
    folder.mkdir()
    assert is_pretrained(write(folder))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_that_have_an_architecture(name):
    settings = unfactorised(ModelSettings.model_validate({"preset": name}).resolved(None))
    wanted = "Gemma3ForCausalLM" if name.startswith("gemma3") else "LlamaForCausalLM"
    if "learned" in settings.positions:
        with pytest.raises(YxanulError, match="positions"):
            architecture_for(settings)
    else:
        assert architecture_for(settings).name == wanted

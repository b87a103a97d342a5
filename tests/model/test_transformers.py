"""Ours and the `transformers` implementation of the same architecture say the same."""

import pytest
import torch

from yxanul.model.config import ModelSettings
from yxanul.model.language_model import LanguageModel

FIELDS = {"width": 64, "depth": 3, "num_heads": 4, "num_kv_heads": 2, "ffn_width": 96}


def theirs(settings, kind):
    transformers = pytest.importorskip("transformers", reason="needs the extra 'hf'")
    config = getattr(transformers, f"{kind}Config")(
        hidden_size=settings.width,
        num_hidden_layers=settings.depth,
        num_attention_heads=settings.num_heads,
        num_key_value_heads=settings.num_kv_heads,
        head_dim=settings.head_width,
        intermediate_size=settings.ffn_width,
        vocab_size=settings.num_tokens,
        max_position_embeddings=settings.max_seq_len,
        rms_norm_eps=settings.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": settings.rope_theta},
        tie_word_embeddings=settings.head == "tied",
        attention_bias=False,
    )
    return getattr(transformers, f"{kind}ForCausalLM")(config).eval()


def weights_for_them(model):
    """Name our weights as they do, and take the fused matrices apart."""
    shape, ours = model.settings, dict(model.named_parameters())
    heads = [shape.num_heads, shape.num_kv_heads, shape.num_kv_heads]
    found = {
        "model.embed_tokens.weight": ours["embedding.tokens"],
        "model.norm.weight": ours["norm.gain"],
    }
    found["lm_head.weight"] = ours.get("head", ours["embedding.tokens"])
    for n in range(shape.depth):
        block, layer = f"blocks.{n}", f"model.layers.{n}"
        qkv = ours[f"{block}.attention.qkv.weight"].split([h * shape.head_width for h in heads])
        for name, part in zip("qkv", qkv, strict=True):
            found[f"{layer}.self_attn.{name}_proj.weight"] = part
        found[f"{layer}.self_attn.o_proj.weight"] = ours[f"{block}.attention.output.weight"]
        gate, up = ours[f"{block}.ffn.gate_up.weight"].chunk(2)
        found[f"{layer}.mlp.gate_proj.weight"], found[f"{layer}.mlp.up_proj.weight"] = gate, up
        found[f"{layer}.mlp.down_proj.weight"] = ours[f"{block}.ffn.down.weight"]
        found[f"{layer}.input_layernorm.weight"] = ours[f"{block}.attention_norm.gain"]
        found[f"{layer}.post_attention_layernorm.weight"] = ours[f"{block}.ffn_norm.gain"]
        if shape.qk_norm:
            for name in "qk":
                gain = ours[f"{block}.attention.{name}_norm.gain"]
                found[f"{layer}.self_attn.{name}_norm.weight"] = gain
    return {name: weight.detach().clone() for name, weight in found.items()}


@pytest.mark.parametrize("kind", ["Llama", "Qwen3"])
@pytest.mark.parametrize("head", ["tied", "untied"])
def test_logits_and_loss(kind, head):
    settings = ModelSettings(
        **FIELDS, head=head, vocab_size=96, max_seq_len=64, init_std=0.1, qk_norm=kind == "Qwen3"
    )
    generator = torch.Generator().manual_seed(0)
    model = LanguageModel(settings)
    model.init_weights(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.normal_(1.0, 0.2, generator=generator)
    other = theirs(settings, kind)
    other.load_state_dict(weights_for_them(model))
    ids = torch.randint(0, 96, (2, 33), generator=generator)
    expected = other(ids[:, :-1], labels=None).logits
    torch.testing.assert_close(
        model.logits(model.hidden(ids[:, :-1])), expected, rtol=1e-4, atol=1e-4
    )
    loss = model.loss(ids[:, :-1], ids[:, 1:])
    their_loss = other(ids, labels=ids).loss
    torch.testing.assert_close(loss.total / loss.count, their_loss, rtol=1e-5, atol=1e-5)

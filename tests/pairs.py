"""Models of ours beside those of `transformers` with the same weights."""

import random

import torch

from yxanul.model.config import ModelSettings
from yxanul.model.convert.names import tensor_names, to_theirs
from yxanul.model.convert.write import architecture_for, config_for
from yxanul.model.language_model import LanguageModel

FAMILIES = {
    "Llama": {},
    "Qwen3": {"qk_norm": True},
    "Gemma3": {
        "norm": "zero_centered_rmsnorm",
        "post_norm": True,
        "qk_norm": True,
        "embedding_scale": True,
        "ffn": "geglu",
    },
}
SMALL = {
    "width": 32, "depth": 3, "num_heads": 4, "num_kv_heads": 2, "ffn_width": 48, "vocab_size": 96,
    "max_seq_len": 48, "init_std": 0.15, "norm_eps": 1e-6,
}  # fmt: skip


def settings_of(family, **fields):
    """Return small settings of a family."""
    return ModelSettings(**{**SMALL, **FAMILIES[family], **fields})


def random_settings(family, seed):
    """Draw a shape: odd vocabularies, one key head, heads of any width, any pattern of layers."""
    draw = random.Random(f"{family} {seed}")
    num_kv_heads = draw.choice([1, 1, 2, 3])
    num_heads = num_kv_heads * draw.choice([1, 2, 3])
    fields = {
        "num_kv_heads": num_kv_heads,
        "num_heads": num_heads,
        "head_width": draw.choice([4, 6, 8, 16]),
        "width": num_heads * draw.choice([4, 5, 8]),
        "depth": draw.randint(1, 5),
        "ffn_width": draw.choice([7, 24, 33]),
        "vocab_size": draw.choice([31, 50, 96, 101]),
        "head": draw.choice(["tied", "untied"]),
        "rope_theta": draw.choice([100.0, 10_000.0, 1_000_000.0]),
        "norm_eps": draw.choice([1e-6, 1e-3]),
    }
    if family != "Llama":
        pattern = "".join(draw.choices("GL", k=draw.randint(1, 5)))
        if "L" in (pattern * 5)[: fields["depth"]]:
            fields |= {"layer_pattern": pattern, "window": draw.choice([1, 2, 5, 17, 40])}
    if family == "Gemma3":
        fields["rope_theta_local"] = draw.choice([None, 50.0, 10_000.0])
        fields["query_scale"] = draw.choice([None, 5**-0.5, 168**-0.5])
        fields["logit_soft_cap"] = draw.choice([None, 3.0, 30.0])
    return settings_of(family, **fields)


def build_ours(settings, seed=0):
    """Return a model of ours, its gains drawn too."""
    generator = torch.Generator().manual_seed(seed)
    model = LanguageModel(settings)
    model.init_weights(generator)
    middle = 0.0 if settings.norm == "zero_centered_rmsnorm" else 1.0
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.normal_(middle, 0.3, generator=generator)
    return model


def build_theirs(model):
    """Return the model of `transformers` with the weights of ours, and the table of names."""
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    architecture = architecture_for(model.settings)
    config = config_for(model.settings, architecture)
    config = CONFIG_MAPPING[architecture.model_type](**config, attn_implementation="eager")
    other = AutoModelForCausalLM.from_config(config).eval()
    names = tensor_names(model.settings, architecture)
    tensors = to_theirs(names, {n: t.detach() for n, t in model.state_dict().items()})
    if model.settings.head == "tied":
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    other.load_state_dict(tensors)
    return other, names


def draw_ids(settings, length, rows=2):
    """Return random tokens."""
    generator = torch.Generator().manual_seed(length)
    return torch.randint(settings.known_vocab_size, (rows, length), generator=generator)


def train_tokenizer(vocab_size=90, begin=None, padding=False):
    """Return a tokenizer of the library, trained here; `begin` is what it puts before a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=special)
    trainer.show_progress = False
    raw.train_from_iterator(["The fox ran over the hill to the red barn. " * 9], trainer)
    if begin is not None:
        raw.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", special_tokens=[(begin, raw.token_to_id(begin))]
        )
    if padding:
        raw.enable_padding(length=8, direction="left")
    return raw


def superword_tokenizer():
    """A BPE with the token " fox r", which ends inside a word."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    from yxanul.tokenizer.tokenizer import Tokenizer as Ours

    space = "Ġ"  # a space in the alphabet of bytes
    letters = [*dict.fromkeys("The fox ran sat".replace(" ", space))]
    merges = [("f", "o"), ("fo", "x"), (space, "fox"), ("Ġfox", space), ("ĠfoxĠ", "r")]
    tokens = [*letters, *("".join(pair) for pair in merges), "<|endoftext|>"]
    raw = Tokenizer(models.BPE({token: n for n, token in enumerate(tokens)}, merges))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    return Ours(raw, "<|endoftext|>")

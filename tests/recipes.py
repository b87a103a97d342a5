"""A recipe small enough that a whole run of it takes seconds."""

from pathlib import Path

TINY = """
seed: 7
tokenizer: {kind: byte}
data:
  sources:
    stories: {kind: builtin, domain: stories, documents: 120}
    math: {kind: builtin, domain: math, documents: 120}
  validation_fraction: 0.1
  workers: 1
model: {width: 32, depth: 2, num_heads: 2, num_kv_heads: 1, ffn_width: 64, max_seq_len: 64}
optim: {name: adamw, peak_lr: 1e-2, schedule: {name: linear_to_zero, warmup_steps: 2}}
train:
  precision: fp32
  batch_tokens: 256
  checkpoint: {every_steps: 4, keep: 2}
stages:
  - name: one
    mix: {stories: 1.0}
    budget: {steps: 14}
    curriculum:
      - {seq_len: 32, share: 0.5}
      - {seq_len: 64, share: 0.5, lr_scale: 0.5, grad_clip: 0.7}
  - name: two
    mix: {math: 0.75, stories: 0.25}
    budget: {tokens: 2560}
    curriculum:
      - {seq_len: 64}
    gate: {default_rules: false, rules: [{metric: val/*/perplexity, against: best, at_most: 9}]}
eval: {every_steps: 5, max_tokens: 128, sample_prompts: ["Once"], sample_tokens: 8}
"""


def write_tiny(folder: Path, text: str = TINY) -> Path:
    """Write the recipe into `folder` and return its path."""
    path = folder / "tiny.yaml"
    path.write_text(text)
    return path

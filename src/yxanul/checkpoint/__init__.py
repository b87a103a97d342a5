"""Checkpoints: folders of safetensors and JSON that are whole or named as damaged.

`layout` says where things lie, `write` and `read` do what they say, `keep` decides what stays.
"""

from yxanul.checkpoint.config import CheckpointSettings

__all__ = ["CheckpointSettings"]

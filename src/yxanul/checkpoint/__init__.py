"""Checkpoints: folders of safetensors and JSON that are whole or named as damaged.

`layout` says where things lie, `write` and `read` do what they say, `background` does so while the
training goes on, `cadence` says when, `keep` what stays, `migrate` what old ones become.
"""

from yxanul.checkpoint.config import CheckpointSettings

__all__ = ["CheckpointSettings"]

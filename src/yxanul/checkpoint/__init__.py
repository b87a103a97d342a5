"""Checkpoints: folders of safetensors and JSON, written atomically and verified by checksum.

`layout`: paths and names; `write` and `read`; `background`: asynchronous saves; `keep`: when to
save, and rotation.
"""

from yxanul.checkpoint.config import CheckpointSettings

__all__ = ["CheckpointSettings"]

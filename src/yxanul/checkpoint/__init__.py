"""Checkpoints: folders of safetensors and JSON, written atomically and verified by checksum.

`layout`: paths and names; `write` and `read`; `background`: asynchronous saves; `cadence`: when to
save; `keep`: rotation; `migrate`: older schema versions.
"""

from yxanul.checkpoint.config import CheckpointSettings

__all__ = ["CheckpointSettings"]

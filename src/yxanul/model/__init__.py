"""Language model: settings, presets, blocks, head, KV cache, parameter and FLOP counts.

This package imports no torch: import `language_model` and other torch modules directly.
"""

from yxanul.model.config import ModelSettings
from yxanul.model.zoo import PRESETS

__all__ = ["PRESETS", "ModelSettings"]

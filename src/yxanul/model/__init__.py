"""The language model: settings, presets, blocks, head, cache, and what it all costs.

Light on purpose: import `language_model` and its neighbours directly when torch may be loaded.
"""

from yxanul.model.config import ModelSettings
from yxanul.model.zoo import PRESETS

__all__ = ["PRESETS", "ModelSettings"]

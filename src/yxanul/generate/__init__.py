"""Text generation: sampling, decoding with a KV cache, stop strings."""

from yxanul.generate.config import SampleSettings

__all__ = ["SampleSettings"]

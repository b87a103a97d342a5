"""From a prompt to text: sampling, decoding with a cache, stopping."""

from yxanul.generate.config import SampleSettings

__all__ = ["SampleSettings"]

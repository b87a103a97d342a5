"""yxanul: train small language models from scratch, in stages that have to prove themselves."""

__version__ = "0.1.0"

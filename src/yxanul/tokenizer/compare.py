"""Text length in tokens, to compare tokenizers on the same text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass

from yxanul.base.ui import ProgressTask
from yxanul.tokenizer.tokenizer import Tokenizer
from yxanul.tokenizer.train_bpe import in_batches


@dataclass(frozen=True)
class Length:
    """A text's length in tokens (excluding end-of-text tokens), bytes and characters."""

    documents: int = 0
    tokens: int = 0
    bytes: int = 0
    characters: int = 0

    def __add__(self, other: Length) -> Length:
        return Length(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    @property
    def bytes_per_token(self) -> float:
        """Average UTF-8 bytes per token; higher is better."""
        return self.bytes / max(self.tokens, 1)

    @property
    def characters_per_token(self) -> float:
        """Average characters per token."""
        return self.characters / max(self.tokens, 1)

    def to_dict(self) -> dict[str, float]:
        """Return plain data."""
        return {
            **asdict(self),
            "bytes_per_token": self.bytes_per_token,
            "characters_per_token": self.characters_per_token,
        }


def measure(tokenizer: Tokenizer, texts: Iterable[str], task: ProgressTask | None = None) -> Length:
    """Return the total length of all texts, read once in bounded memory."""
    total = Length()
    for batch in in_batches(texts):
        ids, _ = tokenizer.encode_documents(batch)
        size = sum(len(text.encode()) for text in batch)
        total += Length(len(batch), len(ids) - len(batch), size, sum(map(len, batch)))
        if task is not None:
            task.advance(size)
    return total

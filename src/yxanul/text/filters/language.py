"""Language filter."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from yxanul.base.errors import YxanulError, did_you_mean, missing_package
from yxanul.text.documents import Document
from yxanul.text.filters.config import LanguageFilterSettings

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

# More text makes identification slower and hardly better.
LOOKED_AT_CHARS = 2000


class LanguageFilter:
    """Filter by the language that py3langid identifies at the beginning of a document."""

    def __init__(self, settings: LanguageFilterSettings):
        self._settings = settings
        known = _identifier().labels
        for code in settings.languages:
            if code not in known:
                raise YxanulError(
                    f"unknown language '{code}' in the language filter",
                    expected=f"one of {', '.join(sorted(known))}",
                    hint=did_you_mean(code, known),
                )

    def cause(self, document: Document) -> str | None:
        """Return "language" if the language is not allowed or its probability is too low."""
        language, probability = _identifier().classify(document.text[:LOOKED_AT_CHARS])
        allowed = language in self._settings.languages
        return None if allowed and probability >= self._settings.at_least else "language"


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    """Load the model, once per process, with probabilities normalised over all languages."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise missing_package("py3langid", "data") from None
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

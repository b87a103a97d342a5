"""The filter of languages."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from yxanul.base.errors import YxanulError, missing_package, near_miss
from yxanul.text.documents import Document
from yxanul.text.filters.config import LanguageFilterSettings

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

# More text makes the guess slower, and hardly better.
LOOKED_AT_CHARS = 2000


class LanguageFilter:
    """Documents whose beginning is, by the guess of py3langid, in one of the wanted languages."""

    def __init__(self, settings: LanguageFilterSettings):
        self._settings = settings
        known = _identifier().labels
        for code in settings.languages:
            if code not in known:
                raise YxanulError(
                    f"the language filter does not know the language '{code}'",
                    expected=f"codes out of {', '.join(sorted(known))}",
                    hint=near_miss(code, known),
                )

    def cause(self, document: Document) -> str | None:
        """Return "language" if the guess is another language, or too unsure."""
        language, probability = _identifier().classify(document.text[:LOOKED_AT_CHARS])
        wanted = language in self._settings.languages
        return None if wanted and probability >= self._settings.at_least else "language"


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    """Load the model, once a process; the probabilities of all languages sum to one."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise missing_package("py3langid", "data") from None
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

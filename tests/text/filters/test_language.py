import subprocess
import sys

import pytest

from yxanul.base.errors import YxanulError
from yxanul.text.documents import Document
from yxanul.text.filters.config import LanguageFilterSettings
from yxanul.text.filters.language import LOOKED_AT_CHARS
from yxanul.text.filters.table import FILTERS

pytest.importorskip("py3langid")

ENGLISH = "The old house at the end of the road had been empty for many years."
GERMAN = "Das alte Haus am Ende der Straße stand schon seit vielen Jahren leer."


def cause(text, **settings):
    return FILTERS["language"](LanguageFilterSettings(**settings)).cause(Document("d", text))


def test_wanted_languages_stay():
    assert cause(ENGLISH) is None
    assert cause(GERMAN) == "language"
    assert cause(GERMAN, languages=("en", "de")) is None
    assert cause("Старый дом в конце дороги пустовал много лет.", languages=("ru",)) is None


@pytest.mark.parametrize("text", ["12 + 30 = 42", "?!", "\0"])
def test_what_is_in_no_language_is_too_unsure(text):
    assert cause(text) == "language"


def test_the_bound_of_probability_belongs_to_what_stays(monkeypatch):
    class Guess:
        labels = ("en",)

        def classify(self, text):
            return "en", 0.65

    monkeypatch.setattr("yxanul.text.filters.language._identifier", Guess)
    assert cause("text", at_least=0.65) is None
    assert cause("text", at_least=0.6500001) == "language"


def test_only_the_beginning_is_looked_at():
    beginning = (ENGLISH + " ") * (LOOKED_AT_CHARS // len(ENGLISH) + 1)
    assert cause(beginning + GERMAN * 1000) is None


def test_an_unknown_language_is_an_error_at_once():
    with pytest.raises(YxanulError, match=r"'eng'.*'en'"):
        cause(ENGLISH, languages=("eng",))


def test_a_missing_package_is_named_with_its_extra():
    code = """
import sys
sys.modules["py3langid"] = sys.modules["py3langid.langid"] = None
from yxanul.text.config import TextSettings
from yxanul.text.filters.table import open_filters
open_filters(TextSettings(path="x", filters=({"kind": "language"},)))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "'py3langid' is not installed; pip install 'yxanul[data]'" in result.stderr


def test_real_english_stays(shared_data):
    text = (shared_data / "stories" / "tinystories.txt").read_text()
    stories = [story for story in text.split("<|endoftext|>") if story.strip()][:100]
    one = FILTERS["language"](LanguageFilterSettings(at_least=0.95))
    assert all(one.cause(Document("d", story)) is None for story in stories)

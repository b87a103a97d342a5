import pytest

from yxanul.text.documents import Document
from yxanul.text.filters.config import ValueFilterSettings
from yxanul.text.filters.table import FILTERS


@pytest.mark.parametrize(
    ("row", "stays"),
    [
        ({"source": "math"}, True),
        ({"source": "code"}, True),
        ({"source": 1}, True),
        ({"source": True}, False),
        ({"source": "1"}, False),
        ({"source": "Math"}, False),
        ({"source": None}, False),
        ({"source": ["math"]}, False),
        ({"other": "math"}, False),
        ({}, False),
    ],
)
def test_only_the_wanted_values_stay(row, stays):
    one = FILTERS["value"](ValueFilterSettings(column="source", one_of=("math", "code", 1)))
    assert one.cause(Document("d", "text", row)) == (None if stays else "value")

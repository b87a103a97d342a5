import pytest

from yxanul.base.errors import YxanulError
from yxanul.text.documents import Document
from yxanul.text.filters.config import LengthFilterSettings, QualityFilterSettings
from yxanul.text.filters.table import FILTERS, filters_digest

SCORERS = """
import dataclasses
import numpy as np

@dataclasses.dataclass
class Result:
    value: float

def length(texts):
    return [Result(float(len(text))).value for text in texts]

def array(texts):
    return np.array([len(text) for text in texts], np.float32)

def nothing(texts): return None
def too_many(texts): return [1.0, 2.0]
def too_few(texts): return []
def words(texts): return ["good"]
def not_a_number(texts): return [float("nan")]
def failing(texts): raise KeyError("first line\\nsecond line")

not_a_function = 3
"""


@pytest.fixture
def scorers(tmp_path):
    (tmp_path / "scorers.py").write_text(SCORERS)
    return tmp_path / "scorers.py"


def cause(function, text="12345", at_least=5.0):
    settings = QualityFilterSettings(function=str(function), at_least=at_least)
    return FILTERS["quality"](settings).cause(Document("file#3", text))


@pytest.mark.parametrize("name", ["length", "array"])
def test_the_bound_belongs_to_what_stays(scorers, name):
    assert cause(f"{scorers}:{name}") is None
    assert cause(f"{scorers}:{name}", "1234") == "quality"
    assert cause(f"{scorers}:not_a_number") == "quality"


@pytest.mark.parametrize("name", ["nothing", "too_many", "too_few", "words"])
def test_what_is_no_number_for_each_text_is_an_error(scorers, name):
    with pytest.raises(YxanulError, match=rf"scorers.py:{name} .* file#3") as info:
        cause(f"{scorers}:{name}")
    assert "\n" not in str(info.value)


def test_a_function_that_fails_is_an_error_in_one_line(scorers):
    with pytest.raises(YxanulError, match=r"failing .* file#3; got KeyError") as info:
        cause(f"{scorers}:failing")
    assert "\n" not in str(info.value)


def test_files_and_functions_that_are_not_there(scorers):
    with pytest.raises(YxanulError, match=r"not found: .*nowhere\.py"):
        cause(scorers.with_name("nowhere.py:length"))
    with pytest.raises(YxanulError, match=r"'lenght'; .*'length'"):
        cause(f"{scorers}:lenght")
    with pytest.raises(YxanulError, match="no function 'not_a_function'"):
        cause(f"{scorers}:not_a_function")


@pytest.mark.parametrize("code", ["def broken(:", "import no_such_module", "1 / 0"])
def test_a_file_that_cannot_be_run_is_an_error_in_one_line(tmp_path, code):
    (tmp_path / "bad.py").write_text(code)
    with pytest.raises(YxanulError, match=r"bad\.py .*; got \w+Error") as info:
        cause(tmp_path / "bad.py:broken")
    assert "\n" not in str(info.value)


def test_a_file_is_run_once_a_process(tmp_path):
    (tmp_path / "once.py").write_text(
        f"with open({str(tmp_path / 'log')!r}, 'a') as file: file.write('x')\n"
        "def score(texts): return [9] * len(texts)"
    )
    for _ in range(3):
        assert cause(tmp_path / "once.py:score") is None
    assert (tmp_path / "log").read_text() == "x"


def test_the_digest_changes_with_settings_order_and_the_function_itself(scorers):
    length = LengthFilterSettings(min_chars=3)
    quality = QualityFilterSettings(function=f"{scorers}:length", at_least=1)
    marks = [filters_digest(filters) for filters in ((), (length,), (length, quality))]
    marks.append(filters_digest((quality, length)))
    scorers.write_text(SCORERS + "\n# other\n")
    marks.append(filters_digest((length, quality)))
    assert len(set(marks)) == len(marks)
    assert filters_digest(None) == filters_digest(()) == marks[0]

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from yxanul.base.errors import YxanulError
from yxanul.model.attention import BACKENDS
from yxanul.model.attention.backend import Shape
from yxanul.model.attention.choice import candidates, choose

SMALL = Shape("cpu", torch.float32, 2, 16, 4, 2, 8, None, False)
LARGE = SMALL._replace(batch=4, length=512)
CPU_CANDIDATES = ["sdpa", "cpu_blockwise"]


def test_the_tests_use_a_cache_of_their_own():
    code = "from yxanul.base.cache import cache_folder; print(cache_folder())"
    path = os.pathsep.join(sys.path)
    told = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert not Path(told.stdout.strip()).is_relative_to(Path.home() / ".cache")


def test_what_is_named_is_used():
    for name in CPU_CANDIDATES:
        assert choose(LARGE, name, trains=True) is BACKENDS[name]


def test_an_unknown_name_is_an_error_with_the_near_miss():
    with pytest.raises(YxanulError, match=r"'sdpaa'.*'sdpa'\?"):
        choose(SMALL, "sdpaa", trains=True)


@pytest.mark.parametrize("name", ["flex", "varlen", "flash"])
def test_a_back_end_that_cannot_is_an_error_with_the_reason(name, build):
    with pytest.raises(YxanulError, match=f"'{name}' .*without a GPU"):
        choose(SMALL, name, trains=False)
    model = build()
    model.attention_backend = name
    with pytest.raises(YxanulError, match="without a GPU"):
        model.hidden(torch.zeros(1, 4, dtype=torch.int64))


RULES = [
    (LARGE, True, "sdpa"),
    (LARGE, False, "sdpa"),
    (LARGE._replace(dtype=torch.bfloat16), True, "cpu_blockwise"),
    (LARGE._replace(dtype=torch.bfloat16), False, "sdpa"),
    (LARGE._replace(window=8), False, "cpu_blockwise"),
    (LARGE._replace(documents=True), True, "cpu_blockwise"),
]


@pytest.mark.parametrize(("shape", "trains", "expected"), RULES)
def test_the_rule_on_a_cpu(shape, trains, expected):
    assert candidates(shape) == CPU_CANDIDATES
    assert choose(shape, "auto", trains).name == expected

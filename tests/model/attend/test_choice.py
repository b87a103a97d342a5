import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from yxanul.base.errors import YxanulError
from yxanul.model.attend import BACKENDS, choice
from yxanul.model.attend.backend import Shape
from yxanul.model.attend.choice import by_rule, candidates, choose, known_times, measure

SMALL = Shape("cpu", torch.float32, 2, 16, 4, 2, 8, None, False)
LARGE = SMALL._replace(batch=4, length=512)
CPU_CANDIDATES = ["sdpa", "blocks"]


@pytest.fixture(autouse=True)
def cache_home(monkeypatch, tmp_path):
    """A cache folder of its own, and no memory of other tests."""
    monkeypatch.setattr(choice, "_known", {})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def measured(monkeypatch):
    """Say times instead of measuring; return the list of the shapes that were asked for."""
    shapes = []

    def stand_in(shape):
        shapes.append(shape)
        return {"sdpa": 2.0, "blocks": 1.0}

    monkeypatch.setattr(choice, "measure", stand_in)
    return shapes


def forget(monkeypatch):
    monkeypatch.setattr(choice, "_known", {})


def stored_file(home):
    return home / "yxanul" / "attention.json"


def test_the_tests_use_a_cache_of_their_own():
    code = "from yxanul.base.cache import cache_folder; print(cache_folder())"
    path = os.pathsep.join(sys.path)
    told = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert not Path(told.stdout.strip()).is_relative_to(Path.home() / ".cache")


def test_a_shape_is_measured_once_and_remembered(measured, monkeypatch, cache_home):
    for _ in range(3):
        assert choose(LARGE, "auto", trains=True).name == "blocks"
    assert measured == [LARGE]
    assert list(json.loads(stored_file(cache_home).read_text()).values()) == [
        {"sdpa": 2.0, "blocks": 1.0}
    ]
    forget(monkeypatch)
    assert choose(LARGE, "auto", trains=True).name == "blocks"
    assert measured == [LARGE]


def test_every_shape_is_measured_by_itself(measured, cache_home):
    others = [
        LARGE._replace(batch=5),
        LARGE._replace(length=600),
        LARGE._replace(num_heads=8),
        LARGE._replace(num_kv_heads=4),
        LARGE._replace(head_width=16),
        LARGE._replace(window=100),
        LARGE._replace(documents=True),
        LARGE._replace(dtype=torch.bfloat16),
    ]
    for shape in (LARGE, *others, LARGE, *others):
        choose(shape, "auto", trains=True)
    assert measured == [LARGE, *others]
    assert len(json.loads(stored_file(cache_home).read_text())) == 9


def test_the_number_of_threads_makes_a_difference(measured, monkeypatch):
    choose(LARGE, "auto", trains=True)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    choose(LARGE, "auto", trains=True)
    assert measured == [LARGE, LARGE]


def test_what_others_stored_meanwhile_stays(measured, cache_home):
    choose(LARGE, "auto", trains=True)
    file = stored_file(cache_home)
    file.write_text(json.dumps({**json.loads(file.read_text()), "another": {"sdpa": 1.0}}))
    choose(LARGE._replace(batch=5), "auto", trains=True)
    assert len(json.loads(file.read_text())) == 3


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({"sdpa": 1.00, "blocks": 0.97}, "sdpa"),
        ({"sdpa": 1.00, "blocks": 0.94}, "blocks"),
        ({"sdpa": 1.00, "blocks": 1.50}, "sdpa"),
        ({"blocks": 1.50}, "blocks"),
    ],
)
def test_a_small_gain_changes_nothing(monkeypatch, times, expected):
    monkeypatch.setattr(choice, "measure", lambda _: times)
    assert by_rule(LARGE, trains=True) == "sdpa"
    assert choose(LARGE, "auto", trains=True).name == expected


BROKEN = {
    "no JSON": "{",
    "bytes": "\udcff\udcfe",
    "a list": "[1, 2]",
    "words": '{"KEY": "fast"}',
    "no times": '{"KEY": {}}',
    "words for times": '{"KEY": {"sdpa": "fast", "blocks": "slow"}}',
    "back ends that are gone": '{"KEY": {"gone": 0.1}}',
    "back ends that cannot": '{"KEY": {"flash": 0.1, "sdpa": 3.0}}',
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_does_not_matter(measured, monkeypatch, cache_home, kind):
    file = stored_file(cache_home)
    file.parent.mkdir()
    text = BROKEN[kind].replace("KEY", choice._key(LARGE))
    file.write_bytes(text.encode(errors="surrogateescape"))
    assert choose(LARGE, "auto", trains=True).name == "blocks"
    assert measured == [LARGE]
    forget(monkeypatch)
    assert choose(LARGE, "auto", trains=True).name == "blocks"
    assert measured == [LARGE], "the broken file was not mended"


def test_a_folder_that_cannot_be_written_to_does_not_matter(measured, monkeypatch, cache_home):
    (cache_home / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home / "file"))
    for _ in range(2):
        assert choose(LARGE, "auto", trains=True).name == "blocks"
    assert measured == [LARGE]
    assert (cache_home / "file").read_text() == "no folder"


def test_a_disk_that_is_full_does_not_matter(measured, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(choice, "write_json", full)
    assert choose(LARGE, "auto", trains=True).name == "blocks"


@pytest.fixture
def _never_measure(monkeypatch):
    def fail(_):
        raise AssertionError("measured")

    monkeypatch.setattr(choice, "measure", fail)


@pytest.mark.usefixtures("_never_measure")
@pytest.mark.parametrize("window", [None, 8])
@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_inference_and_small_shapes_follow_the_rule(window, documents, dtype):
    for shape, trains in ((LARGE, False), (SMALL, False), (SMALL, True)):
        shape = shape._replace(window=window, documents=documents, dtype=dtype)
        assert choose(shape, "auto", trains).name == by_rule(shape, trains)


@pytest.mark.usefixtures("_never_measure")
def test_a_model_that_only_infers_never_measures(build):
    model = build(max_seq_len=1024)
    with torch.no_grad():
        model.hidden(torch.zeros(1, 600, dtype=torch.int64))
    with pytest.raises(AssertionError, match="measured"):
        model.hidden(torch.zeros(1, 600, dtype=torch.int64))


@pytest.mark.usefixtures("_never_measure")
def test_what_is_named_is_used_without_measuring():
    for name in CPU_CANDIDATES:
        assert choose(LARGE, name, trains=True) is BACKENDS[name]


@pytest.mark.usefixtures("_never_measure")
def test_the_only_candidate_is_not_measured(monkeypatch):
    monkeypatch.setattr(choice, "candidates", lambda _: ["sdpa"])
    assert choose(LARGE, "auto", trains=True).name == "sdpa"


def test_an_unknown_name_is_an_error_with_the_near_miss():
    with pytest.raises(YxanulError, match=r"unknown attention back end 'sdpaa'.*'sdpa'\?"):
        choose(SMALL, "sdpaa", trains=True)


@pytest.mark.parametrize("name", ["flex", "varlen", "flash"])
def test_a_back_end_that_cannot_is_an_error_with_the_reason(name, build):
    with pytest.raises(YxanulError, match=f"'{name}' cannot be used here.*without a GPU"):
        choose(SMALL, name, trains=False)
    model = build()
    model.attention_backend = name
    with pytest.raises(YxanulError, match="without a GPU"):
        model.hidden(torch.zeros(1, 4, dtype=torch.int64))


@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("documents", [False, True])
def test_measuring_gives_every_candidate_a_time(window, documents):
    shape = SMALL._replace(window=window, documents=documents)
    assert candidates(shape) == CPU_CANDIDATES
    with torch.no_grad():
        times = measure(shape, repeats=1)
    assert list(times) == CPU_CANDIDATES and all(time > 0 for time in times.values())


def test_measuring_leaves_the_random_numbers_alone():
    before = torch.get_rng_state()
    known_times(SMALL)
    assert torch.equal(torch.get_rng_state(), before)


RULES = [
    (LARGE, True, "sdpa"),
    (LARGE, False, "sdpa"),
    (LARGE._replace(dtype=torch.bfloat16), True, "blocks"),
    (LARGE._replace(dtype=torch.bfloat16), False, "sdpa"),
    (LARGE._replace(window=8), False, "blocks"),
    (LARGE._replace(documents=True), True, "blocks"),
]


@pytest.mark.parametrize(("shape", "trains", "expected"), RULES)
def test_the_rule_on_a_cpu(shape, trains, expected):
    assert by_rule(shape, trains) == expected


def test_a_back_end_that_fails_while_it_is_measured_is_passed_over(monkeypatch, cache_home):
    def attend(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(type(BACKENDS["blocks"]), "attend", attend)
    times = known_times(LARGE)
    assert times["blocks"] is None and times["sdpa"] > 0
    assert choose(LARGE._replace(dtype=torch.bfloat16), "auto", trains=True).name == "sdpa"
    forget(monkeypatch)
    monkeypatch.setattr(choice, "measure", lambda _: pytest.fail("measured again"))
    assert known_times(LARGE) == times

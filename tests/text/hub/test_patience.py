"""Which faults are tried again, for how long, and what is said in the end."""

import errno
from types import SimpleNamespace

import pytest

from yxanul.base.errors import YxanulError
from yxanul.text.config import HubSettings
from yxanul.text.sources import hub_load, open_source
from yxanul.text.sources.hub_load import WAITS_SECONDS, Wanted, load

WANTED = Wanted("ann/tales")


class HttpFault(OSError):
    """As the hub's client raises it: with the response."""

    def __init__(self, status):
        super().__init__(f"{status} for some address")
        self.response = SimpleNamespace(status_code=status)


class TransportError(Exception):
    """Stands for the fault of that name in the HTTP libraries."""


@pytest.fixture(autouse=True)
def online(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_DATASETS_OFFLINE", raising=False)


def loads(*answers):
    """Return a stand-in for load_dataset with these answers, one a call, and its calls."""
    left, calls = list(answers), []

    def load_dataset(*arguments, **options):
        calls.append((arguments, options))
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return load_dataset, calls


PASSING = [HttpFault(429), HttpFault(500), HttpFault(503), ConnectionError(), TimeoutError()]


@pytest.mark.parametrize("fault", [*PASSING, TransportError("reset")], ids=repr)
def test_passing_faults_are_tried_again_after_longer_and_longer_waits(fault):
    waits = []
    load_dataset, calls = loads(fault, fault, "the set")
    assert load(WANTED, load_dataset, waits.append) == "the set"
    assert len(calls) == 3
    assert waits == list(WAITS_SECONDS) == sorted(set(WAITS_SECONDS))


def test_in_the_end_the_fault_is_told():
    waits = []
    load_dataset, calls = loads(*[HttpFault(503)] * 9)
    with pytest.raises(YxanulError, match=r"could not be reached.*503 for some address"):
        load(WANTED, load_dataset, waits.append)
    assert len(calls) == len(WAITS_SECONDS) + 1


@pytest.mark.parametrize("fault", [HttpFault(401), HttpFault(404), ValueError("bad"), KeyError()])
def test_other_faults_are_not_tried_again(fault):
    load_dataset, calls = loads(fault)
    with pytest.raises(YxanulError, match="'ann/tales' cannot be loaded"):
        load(WANTED, load_dataset, pytest.fail)
    assert len(calls) == 1


def test_a_fault_behind_another_counts():
    fault = RuntimeError("download failed")
    fault.__cause__ = HttpFault(502)
    load_dataset, _ = loads(fault, "the set")
    assert load(WANTED, load_dataset, lambda seconds: None) == "the set"


def test_a_full_disk_is_told(monkeypatch):
    fault = RuntimeError("writing failed")
    fault.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    load_dataset, _ = loads(fault)
    with pytest.raises(YxanulError, match=r"disk is full.*HF_HOME"):
        load(WANTED, load_dataset, pytest.fail)


def test_nobody_waits_for_a_hub_that_is_switched_off(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    load_dataset, calls = loads(ConnectionError("offline"))
    with pytest.raises(YxanulError, match="unset HF_HUB_OFFLINE"):
        load(WANTED, load_dataset, pytest.fail)
    assert len(calls) == 1


def test_what_is_asked_of_the_client():
    load_dataset, calls = loads("the set")
    load(Wanted("a/b", "one", "test", "v1", ("x.jsonl",)), load_dataset)
    options = {"split": "test", "revision": "v1", "data_files": ["x.jsonl"]}
    assert calls == [(("a/b", "one"), options)]


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    hub_load.load_once.cache_clear()
    with pytest.raises(YxanulError, match=r"pip install 'yxanul\[data\]'"):
        open_source("mine", HubSettings(name="ann/tales")).parts()

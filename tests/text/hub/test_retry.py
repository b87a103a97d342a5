"""Which faults are tried again, for how long, and what is said in the end."""

import errno
from types import SimpleNamespace

import pytest

from yxanul.base.errors import YxanulError
from yxanul.text.config import HubSettings
from yxanul.text.sources import hub_plan, hub_rows, open_source, retry
from yxanul.text.sources.hub_query import HubQuery
from yxanul.text.sources.retry import MAX_WAIT_SECONDS, WAITS_SECONDS

QUERY = HubQuery("ann/tales")


class HttpFault(OSError):
    """As the hub's client raises it: with the response."""

    def __init__(self, status, headers=None):
        super().__init__(f"{status} for some address")
        self.response = SimpleNamespace(status_code=status, headers=headers or {})


class TransportError(Exception):
    """Stands for the fault of that name in the HTTP libraries."""


class HttpError(Exception):
    """As the client of Google's store raises it: with a code and no response."""

    code = 503
    headers = {"Retry-After": "1"}  # noqa: RUF012


@pytest.fixture(autouse=True)
def online(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_DATASETS_OFFLINE", raising=False)


def tried(action, target, sleep, **options):
    """Retry with another way to sleep."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retry.time, "sleep", sleep)
        return retry.retry(action, target, **options)


def gives(*answers):
    """Return a function with these answers, one a call; `left` has those to come."""
    left = list(answers)

    def action():
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return action, left


PASSING = [
    *map(HttpFault, (408, 429, 500, 502, 503, 504)),
    ConnectionError(),
    TimeoutError(),
    TransportError("reset"),
    HttpError("busy"),
    OSError(errno.EIO, "the backend is busy"),
    OSError("Consistency check failed: file should be of size 9 but has size 7"),
]


@pytest.mark.parametrize("fault", PASSING, ids=repr)
def test_passing_faults_are_tried_again_after_longer_and_longer_waits(fault):
    waits = []
    tries = len(WAITS_SECONDS)
    action, left = gives(*[fault] * tries, "the set")
    assert tried(action, QUERY, waits.append) == "the set"
    assert left == []
    assert waits == list(WAITS_SECONDS) == sorted(set(WAITS_SECONDS))


def test_in_the_end_the_fault_is_told():
    action, left = gives(*[HttpFault(503)] * 9)
    with pytest.raises(YxanulError, match=r"not be reached.*503 for some address"):
        tried(action, QUERY, lambda seconds: None)
    assert len(left) == 9 - len(WAITS_SECONDS) - 1


@pytest.mark.parametrize(("fault", "tries"), [(ConnectionError(), 3), (HttpFault(503), 5)])
def test_quick_is_for_no_answer_not_for_a_busy_hub(fault, tries):
    action, left = gives(*[fault] * 9)
    with pytest.raises(YxanulError, match=f"after {tries} tries"):
        tried(action, QUERY, lambda seconds: None, quick=True)
    assert len(left) == 9 - tries


@pytest.mark.parametrize(("asked", "waited"), [("9", 9), ("99999", MAX_WAIT_SECONDS)])
def test_the_server_says_how_long_to_wait(asked, waited):
    waits = []
    action, _ = gives(HttpFault(429, {"Retry-After": asked}), HttpFault(503), "the set")
    tried(action, QUERY, waits.append)
    assert waits == [waited, WAITS_SECONDS[1]]


@pytest.mark.parametrize("fault", [HttpFault(401), HttpFault(404), ValueError("bad"), KeyError()])
def test_other_faults_are_not_tried_again(fault):
    action, left = gives(fault, "the set")
    with pytest.raises(YxanulError, match="'ann/tales' cannot be loaded"):
        tried(action, QUERY, pytest.fail)
    assert left == ["the set"]


def test_an_error_in_our_own_words_stays_as_it_is():
    action, _ = gives(YxanulError("no such thing"))
    with pytest.raises(YxanulError, match=r"^no such thing$"):
        tried(action, QUERY, pytest.fail)


def test_a_fault_behind_another_counts():
    fault = RuntimeError("download failed")
    fault.__cause__ = HttpFault(502)
    action, _ = gives(fault, "the set")
    assert tried(action, QUERY, lambda seconds: None) == "the set"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told(number):
    fault = RuntimeError("writing failed")
    fault.__cause__ = OSError(number, "No space left on device")
    action, _ = gives(fault, fault.__cause__)
    with pytest.raises(YxanulError, match=r"disk is full.*HF_HOME.*streaming: true"):
        tried(action, QUERY, pytest.fail)
    with pytest.raises(YxanulError, match="disk is full: s3://b/a "):
        tried(action, "s3://b/a", pytest.fail)


def test_a_token_that_is_not_accepted():
    fault = HttpFault(401)
    fault.args = ("Invalid credentials in Authorization header",)
    action, _ = gives(fault)
    with pytest.raises(YxanulError, match="rejected the token"):
        tried(action, QUERY, pytest.fail)


def test_nobody_waits_for_a_hub_that_is_switched_off(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    action, left = gives(ConnectionError("offline"), "the set")
    with pytest.raises(YxanulError, match="unset HF_HUB_OFFLINE"):
        tried(action, QUERY, pytest.fail)
    assert left == ["the set"]


def test_what_is_asked_of_the_client():
    settings = HubSettings(name="a/b", config="one", revision="v1", data_files=("x.jsonl",))
    query = HubQuery.of(settings)
    assert query == HubQuery("a/b", "one", "train", "v1", ("x.jsonl",))
    assert query.options == {"revision": "v1", "data_files": ["x.jsonl"]}
    assert not query.is_pinned
    assert query._replace(revision="0" * 40).is_pinned


@pytest.mark.parametrize("name", ["tales", "a/b/c", "ann/"])
def test_a_name_has_an_owner(name):
    with pytest.raises(ValueError, match="owner/name"):
        HubSettings(name=name)


def test_without_the_package_the_extra_is_named(monkeypatch):
    for package in ("datasets", "huggingface_hub"):
        monkeypatch.setitem(__import__("sys").modules, package, None)
    hub_rows.load.cache_clear()
    hub_plan.find_plan.cache_clear()
    with pytest.raises(YxanulError, match=r"pip install 'yxanul\[data\]'"):
        open_source("mine", HubSettings(name="ann/tales")).slices()


@pytest.mark.parametrize("cause", [EOFError("ended early"), OSError("Corrupt record batch")])
def test_a_damaged_data_set_is_no_network_fault(cause):
    fault = RuntimeError("An error occurred while generating the dataset")
    fault.__cause__ = cause
    for error in (fault, cause):
        action, left = gives(error, "the set")
        with pytest.raises(YxanulError, match="'ann/tales' cannot be loaded"):
            tried(action, QUERY, pytest.fail)
        assert left == ["the set"]


def test_a_full_disk_is_known_by_what_datasets_says():
    action, _ = gives(OSError("Not enough disk space. Needed: 9.00 GiB"))
    with pytest.raises(YxanulError, match="disk is full"):
        tried(action, QUERY, pytest.fail)


@pytest.mark.parametrize("number", [errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EBUSY])
def test_a_network_that_is_down_for_a_moment(number):
    action, _ = gives(OSError(number, "unreachable"), "text")
    assert tried(action, "sftp://host/a", lambda seconds: None) == "text"

"""A hub that fails on purpose: what passes costs time, what stays ends in one clear line."""

import json

import pytest

STORIES = [f"story {n}" for n in range(400)]


@pytest.fixture
def tales(hub, request):
    """A new set for each test, since what was read once is kept: two files of 200 stories."""
    name = f"ann/{abs(hash(request.node.name)):x}"
    lines = [json.dumps({"text": story, "n": "x" * 200}) + "\n" for story in STORIES]
    files = {f"{k}.jsonl": "".join(lines[200 * k : 200 * k + 200]).encode() for k in range(2)}
    hub.put(name, files)
    return name


@pytest.fixture(params=[False, True], ids=["downloaded", "streamed"])
def settings(tales, request):
    """Both ways to read the set; the text column is named, so that no file is looked at before."""
    return {"name": tales, "text_column": "text", "streaming": request.param}


def assert_whole(answer):
    assert answer.get("error") is None
    assert answer["texts"] == STORIES, "nothing is lost, and nothing is there twice"
    assert answer["dropped"] == []


PASSING = {
    "busy from the start": ("", {"times": 4, "status": 503}),
    "busy at the files": ("GET .*/resolve/.*jsonl", {"times": 4, "status": 500}),
    "too many requests": ("", {"times": 2, "status": 429, "headers": {"Retry-After": "7"}}),
    "cut in mid-file": ("GET .*/resolve/.*jsonl", {"times": 3, "cut_at": 20_000}),
    "cut before the first byte": ("GET .*/resolve/.*jsonl", {"times": 2, "cut_at": 0}),
    "cut while the files are listed": ("/tree/|/paths-info/", {"times": 2, "cut_at": 5}),
}


@pytest.mark.parametrize("trouble", PASSING)
def test_what_passes_costs_time_alone(ask, hub, settings, trouble):
    pattern, how = PASSING[trouble]
    with hub.failing(pattern, **how) as fault:
        (answer,) = ask(settings)
    assert_whole(answer)
    assert fault.times == 0, "the fault has been met"
    if "headers" in how:
        assert max(answer["waited"]) >= 7, "as long as the server asks"


@pytest.mark.slow
def test_a_stalled_answer_is_asked_for_again(ask, hub, settings):
    with hub.failing("GET .*/resolve/.*0.jsonl", 1, stalls=True) as fault:
        (answer,) = ask(settings)
    assert_whole(answer)
    assert fault.times == 0


STAYING = {
    "broken": ("", {"status": 500}),
    "broken files": ("/resolve/.*1.jsonl", {"status": 500}),
    "cut always": ("GET .*/resolve/.*1.jsonl", {"cut_at": 20_000}),
    "too many requests": ("", {"status": 429, "headers": {"Retry-After": "100000"}}),
}


@pytest.mark.parametrize("trouble", STAYING)
def test_what_stays_ends_in_one_line(ask, hub, settings, trouble):
    pattern, how = STAYING[trouble]
    with hub.failing(pattern, **how):
        (answer,) = ask(settings)
    assert "could not be reached" in answer["error"]
    assert "5 tries; " in answer["error"]
    assert "\n" not in answer["error"]
    (later,) = ask(settings)
    assert_whole(later)


def test_a_busy_hub_is_asked_again_by_the_client_or_by_us(ask, hub, settings):
    busy = {"status": 429, "headers": {"Retry-After": "300"}}
    for request in (
        "/tree/",
        "GET .*/1.jsonl in a range" if settings["streaming"] else "/1.jsonl$",
    ):
        with hub.failing(request, **busy):
            (answer,) = ask(settings)
        assert "could not be reached" in answer["error"]
        assert 1 < sum(seconds >= 300 for seconds in answer["waited"]) < 7


def test_no_wait_is_longer_than_the_hub_s_window(ask, hub, tales):
    with hub.failing("/api/", 1, status=429, headers={"Retry-After": "100000"}):
        (answer,) = ask({"name": tales})
    assert_whole(answer)
    assert max(answer["waited"]) == 300


def test_a_damaged_file_of_the_cache_is_not_taken_as_whole(ask_anew, tmp_path, tales):
    (first,) = ask_anew({"name": tales})
    (blob, *_) = [path for path in tmp_path.rglob("blobs/*") if path.stat().st_size > 10_000]
    blob.write_bytes(blob.read_bytes()[:10_000])
    (again,) = ask_anew({"name": tales})
    assert_whole(first)
    assert_whole(again)


def test_a_large_file_cannot_be_streamed_from_a_server_without_ranges(ask, hub, monkeypatch):
    hub.put("ann/large", {"train.jsonl": b'{"text": "a tale"}\n' * 20_000})
    monkeypatch.setattr(hub, "answers_ranges", False)
    settings = {"name": "ann/large", "text_column": "text"}
    streamed, downloaded = ask({**settings, "streaming": True}, settings)
    assert "range requests" in streamed["error"]
    assert downloaded["texts"] == ["a tale"] * 20_000


def test_every_range_is_the_one_that_was_asked_for(ask, hub, tales, monkeypatch):
    monkeypatch.setattr(hub, "answers_ranges", True)

    def forget_ranges():
        hub.answers_ranges = False

    with hub.failing("GET .*/1.jsonl in a range", 1, meanwhile=forget_ranges) as fault:
        (answer,) = ask({"name": tales, "text_column": "text", "streaming": True})
    assert fault.times == 0
    assert "does not support range requests for 1.jsonl" in answer["error"]


@pytest.mark.slow
def test_a_hub_that_went_away_leaves_what_was_downloaded(ask_anew, hub, tales):
    (first,) = ask_anew({"name": tales})
    (again,) = ask_anew({"name": tales}, HF_ENDPOINT="http://127.0.0.1:9")
    assert again["texts"] == first["texts"]
    assert "could not be reached" in again["notes"][0]
    (other,) = ask_anew({"name": "ann/tales"}, HF_ENDPOINT="http://127.0.0.1:9")
    assert "the dataset 'ann/tales'" in other["error"]


def test_a_bad_day_of_parquet_files(ask, hub):
    hub.put("ann/fresh", hub.commits["ann/tables"][hub.heads["ann/tables"]])
    settings = {"name": "ann/fresh", "config": "big", "streaming": True}
    with hub.failing("GET .*parquet", 4, status=502), hub.failing("GET .*1.parquet", 1, cut_at=700):
        (answer,) = ask(settings)
    assert answer["texts"] == [f"story {n}" for n in range(500)]
    with hub.failing("GET .*1.parquet", status=500):
        (answer,) = ask(settings)
    assert "could not be reached" in answer["error"]

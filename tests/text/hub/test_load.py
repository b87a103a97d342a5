"""The real client against a stand-in for the hub: what is read, and what is said."""

import re

import pytest

STORIES = [f"story {n}" for n in range(300)]


def test_a_set_is_downloaded_once_and_then_needs_no_hub(ask_anew, hub):
    with hub.watched() as requests:
        (first,) = ask_anew({"name": "ann/tales"})
    assert first["texts"] == STORIES
    assert first["ids"][-1] == "train.jsonl#299"
    assert "'text'" in first["notes"][0]
    assert "1 files" in first["notes"][1]
    assert "are downloaded" in first["notes"][1]
    assert len([request for request in requests if "HEAD" in request and "train" in request]) == 1
    with hub.watched() as requests:
        (again,) = ask_anew({"name": "ann/tales"}, HF_HUB_OFFLINE="1")
    assert requests == []
    assert again == {**first, "notes": first["notes"][:1]}


@pytest.mark.slow
@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_set_needs_the_right_token(ask_anew, hub, status, monkeypatch):
    monkeypatch.setitem(hub.gated, "ann/gated", status)
    (without,) = ask_anew({"name": "ann/gated"})
    assert "is gated" in without["error"]
    assert "HF_TOKEN" in without["error"]
    (opened,) = ask_anew({"name": "ann/gated"}, HF_TOKEN="hf_opensesame")
    assert opened["texts"] == STORIES


WRONG = {
    r"hub has no dataset 'ann/nothing'.*HF_TOKEN": {"name": "ann/nothing"},
    r"is gated; .*HF_TOKEN": {"name": "ann/gated"},
    r"no revision 'v9'": {"name": "ann/tales", "revision": "v9"},
    r"no split 'trian'; expected 'train'; did you mean 'train'": {
        "name": "ann/tales",
        "split": "trian",
    },
    r"has several configurations; expected 'one', 'two'; choose one with config": {
        "name": "ann/several"
    },
    r"no configuration 'twoo'; expected 'one', 'two'; did you mean 'two'": {
        "name": "ann/several",
        "config": "twoo",
    },
    r"no configuration 'xyz'; expected 'one', 'two'; choose one with config": {
        "name": "ann/several",
        "config": "xyz",
    },
    r"'ann/empty' has no readable": {"name": "ann/empty"},
    r"loading script.*refs/convert/parquet": {"name": "ann/script"},
    r"no row could be read from 'ann/broken'|train.jsonl": {"name": "ann/broken"},
    r"matches data_files; got .*train.jsonl; expected train.json; did you mean 'train.jsonl'": {
        "name": "ann/tales",
        "data_files": "train.json",
    },
    r"matches data_files; .*expected no\*.jsonl": {
        "name": "ann/tales",
        "data_files": "no*.jsonl",
    },
    r"no column 'tex'.*did you mean 'text'": {"name": "ann/tales", "text_column": "tex"},
    r"'ann/ta les' is not": {"name": "ann/ta les"},
    r"'ann/lines' has no columns": {"name": "ann/lines", "template": "{a}"},
}


@pytest.mark.parametrize("expected", WRONG)
def test_what_is_wrong_is_said_in_one_line(ask, expected):
    (answer,) = ask(WRONG[expected])
    assert re.search(expected, answer["error"]), answer["error"]
    assert "\n" not in answer["error"]
    assert answer["waited"] == [], "none of this passes"


def test_options_choose_what_is_read(ask):
    two, some, files, template = ask(
        {"name": "ann/several", "config": "two"},
        {"name": "ann/tales", "split": "train[:10]", "limit": 7},
        {"name": "ann/several", "data_files": ["two.jsonl", "one.jsonl"]},
        {"name": "ann/tales", "template": "{n}: {text}", "limit": 1},
    )
    assert two["texts"] == ["story 0", "story 1"]
    assert some["texts"] == STORIES[:7]
    assert sorted(files["texts"]) == ["story 0", "story 0", "story 1"]
    assert template["texts"] == ["0: story 0"]
    assert template["notes"] == []


LAYOUTS = {
    "parquet": ({"name": "ann/tables", "config": "big"}, [f"story {n}" for n in range(500)]),
    "other configuration": (
        {"name": "ann/tables", "config": "small"},
        ["story 900", "story 901", "story 902"],
    ),
    "packed": ({"name": "ann/packed"}, STORIES),
    "text": ({"name": "ann/lines"}, ["One.", "Two.", "Three."]),
    "csv": ({"name": "ann/commas", "text_column": "text"}, ["tale"] * 50),
    "metadata first": ({"name": "ann/metadata"}, None),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("streaming", [False, True])
def test_layouts_streamed_and_downloaded(ask, layout, streaming):
    settings, texts = LAYOUTS[layout]
    (answer,) = ask({**settings, "streaming": streaming})
    if texts is not None:
        assert answer["texts"] == texts
    else:
        assert sorted(answer["texts"]) == sorted(f"story {n}" for n in range(240))
        assert answer["dropped"] == [["missing_column", f"a-about.jsonl#{n}"] for n in range(3)]


def test_streaming_gives_the_same_documents_and_leaves_nothing_behind(ask, ask_anew, tmp_path):
    settings = {"name": "ann/long"}
    (downloaded,) = ask(settings)
    (streamed,) = ask_anew({**settings, "streaming": True})
    same = ("parts", "texts", "ids", "dropped")
    assert [downloaded[key] for key in same] == [streamed[key] for key in same]
    assert len(downloaded["texts"]) == len(set(downloaded["texts"])) == 9_000
    assert len(downloaded["parts"]) > 3, "a large file has several parts"
    blobs = [path for path in tmp_path.rglob("blobs/*") if path.stat().st_size > 1000]
    assert blobs == []


def test_a_limit_downloads_no_more_than_it_needs(ask_anew, hub):
    names, limits = ("ann/long", "ann/tables"), {"limit": 5, "data_files": "**"}
    with hub.watched() as requests:
        answers = ask_anew(*({"name": name, **limits} for name in names))
    assert all(answer["texts"] == [f"story {n}" for n in range(5)] for answer in answers)
    downloads = whole_files(requests)
    assert len(downloads) == 2
    assert all(name in one and "/0." in one for name, one in zip(names, downloads, strict=True))


@pytest.mark.slow
def test_several_processes_get_the_same_documents(ask, ask_anew, hub):
    for settings in ({"name": "ann/long"}, {"name": "ann/tables", "config": "big"}):
        (alone,) = ask(settings)
        with hub.watched() as requests:
            (together,) = ask_anew(settings, workers=3)
        assert together["texts"] == alone["texts"]
        assert together["parts"] == alone["parts"]
        downloads = whole_files(requests)
        assert len(downloads) == len(set(downloads)) > 1, "each file once"


def test_all_parts_are_of_one_commit_though_main_moves(ask, hub):
    first = {"train.jsonl": stories_of("old", 50)}
    old = hub.put("ann/moving", first)
    settings = {"name": "ann/moving"}
    (before,) = ask(settings)
    hub.put("ann/moving", {**first, "README.md": b"Only words."})
    (words,) = ask(settings)
    assert words["parts"] == before["parts"], "what has not changed is not encoded again"
    hub.put("ann/moving", {"train.jsonl": stories_of("new", 50)})
    after, pinned = ask(settings, {**settings, "revision": old})
    assert before["texts"] == pinned["texts"] == [f"old {n}" for n in range(50)]
    assert before["parts"] == pinned["parts"]
    assert after["texts"] == [f"new {n}" for n in range(50)]
    assert [mark for _, mark in after["parts"]] != [mark for _, mark in before["parts"]]


def whole_files(requests):
    """Return the downloads of data files among some requests."""
    return [r for r in requests if re.fullmatch(r"GET .*/resolve/.*\d\.(jsonl|parquet)", r)]


def test_a_run_stays_at_its_commit_though_main_moves_meanwhile(ask, hub):
    hub.put("ann/hasty", {f"{k}.jsonl": stories_of("old", 9) for k in range(3)})
    new = {f"{k}.jsonl": stories_of("new", 9) for k in range(3)}
    with hub.failing("GET .*/resolve/.*jsonl", 1, meanwhile=lambda: hub.put("ann/hasty", new)):
        (answer,) = ask({"name": "ann/hasty"}, workers=1)
    assert set(answer["texts"]) == {f"old {n}" for n in range(9)}
    (later,) = ask({"name": "ann/hasty"})
    assert set(later["texts"]) == {f"new {n}" for n in range(9)}


def stories_of(word, count):
    return b"".join(b'{"text": "%s %d"}\n' % (word.encode(), n) for n in range(count))


@pytest.mark.slow
def test_without_hub_and_without_cache(ask_anew):
    downloaded, streamed = ask_anew(
        {"name": "ann/tales"}, {"name": "ann/tales", "streaming": True}, HF_HUB_OFFLINE="1"
    )
    assert "unset HF_HUB_OFFLINE" in downloaded["error"]
    assert "unset HF_HUB_OFFLINE" in streamed["error"]


@pytest.mark.parametrize("streaming", [False, True])
def test_names_of_files_may_hold_any_sign(ask, hub, streaming):
    names = ("train a#1.jsonl", "train%20@2.jsonl", "tr?in+é.jsonl")
    hub.put("ann/odd", {name: stories_of(str(n), 9) for n, name in enumerate(names)})
    (answer,) = ask({"name": "ann/odd", "streaming": streaming, "data_files": "**"})
    assert sorted(answer["texts"]) == sorted(f"{n} {k}" for n in range(3) for k in range(9))


def test_changed_files_of_a_local_folder_are_read_again(ask, tmp_path):
    folder = tmp_path / "dataset"
    folder.mkdir()
    answers = []
    for text in ("first", "second"):
        (folder / "a.csv").write_text(f"text,n\n{text} tale,1\n")
        (answer,) = ask({"name": str(folder), "streaming": True})
        answers.append(answer)
    assert [answer["texts"] for answer in answers] == [["first tale"], ["second tale"]]
    assert answers[0]["parts"] != answers[1]["parts"]

"""The real `datasets.load_dataset` against a stand-in for the hub, in processes of their own."""

import json
import os
import subprocess
import sys

import pytest

# Prints, for each settings that come as JSON, what the source gives or the error.
PROGRAM = """
import json, sys
from yxanul.base.errors import YxanulError
from yxanul.text.config import HubSettings
from yxanul.text.sources import hub_load, open_source
hub_load.WAITS_SECONDS = (0.0, 0.0)
for settings in json.loads(sys.argv[1]):
    try:
        source = open_source("mine", HubSettings(**settings))
        parts = source.parts()
        documents = [d for part in parts for d in source.read(part)]
        print(json.dumps({
            "parts": [(p.name, p.fingerprint) for p in parts],
            "texts": [d.text for d in documents],
            "ids": [d.id for d in documents],
            "notes": source.notes,
        }))
    except YxanulError as error:
        print(json.dumps({"error": str(error)}))
"""


@pytest.fixture
def ask(hub, tmp_path):
    """A function that opens sources of the hub in a process with its own cache."""

    def run(*settings, **environment):
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        more = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
        result = subprocess.run(
            [sys.executable, "-W", "error", "-c", PROGRAM, json.dumps(settings)],
            env={**inherited, **more, **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        return [json.loads(line) for line in result.stdout.splitlines()]

    return run


def test_a_set_is_downloaded_once_and_then_needs_no_hub(ask, hub):
    hub.requests.clear()
    (first,) = ask({"name": "ann/tales"})
    assert first["texts"] == [f"story {n}" for n in range(300)]
    assert first["ids"][-1] == "train#299"
    assert "'text'" in first["notes"][0]
    downloads = [request for request in hub.requests if "train.jsonl" in request]
    assert len(downloads) == 2, "one HEAD, one GET"
    hub.requests.clear()
    assert ask({"name": "ann/tales"}, HF_HUB_OFFLINE="1") == [first]
    assert hub.requests == []


@pytest.mark.slow
def test_a_gated_set_needs_the_right_token(ask, hub):
    (without,) = ask({"name": "ann/gated"})
    assert "gated" in without["error"]
    assert "HF_TOKEN" in without["error"]
    (opened,) = ask({"name": "ann/gated"}, HF_TOKEN="hf_opensesame")
    assert len(opened["texts"]) == 300


def test_what_is_wrong_is_said_in_words(ask):
    asked = {
        "hub has no data set 'ann/nothing'": {"name": "ann/nothing"},
        "gated.*HF_TOKEN": {"name": "ann/gated"},
        "no revision 'v9'": {"name": "ann/tales", "revision": "v9"},
        "trian.*choose one with split": {"name": "ann/tales", "split": "trian"},
        "'one', 'two'.*choose one with config": {"name": "ann/several"},
        "'three'.*choose one with config": {"name": "ann/several", "config": "three"},
        "cannot be loaded.*data files": {"name": "ann/empty"},
        "refs/convert/parquet": {"name": "ann/script"},
        "cannot be loaded.*JSON": {"name": "ann/broken"},
        "check data_files": {"name": "ann/tales", "data_files": "no*.jsonl"},
        "no column 'tex'.*did you mean 'text'": {"name": "ann/tales", "text_column": "tex"},
    }
    for answer, expected in zip(ask(*asked.values()), asked, strict=True):
        assert_matches(answer["error"], expected)


def assert_matches(text, expected):
    at = 0
    for piece in expected.split(".*"):
        at = text.find(piece, at)
        assert at >= 0, f"{piece!r} is not in {text!r}"


@pytest.mark.slow
def test_options_choose_what_is_read(ask):
    two, some, file, template = ask(
        {"name": "ann/several", "config": "two"},
        {"name": "ann/tales", "split": "train[:10]", "limit": 7},
        {"name": "ann/several", "data_files": ["two.jsonl", "one.jsonl"]},
        {"name": "ann/tales", "template": "{n}: {text}", "limit": 1},
    )
    assert two["texts"] == ["story 0", "story 1"]
    assert some["texts"] == [f"story {n}" for n in range(7)]
    assert sorted(file["texts"]) == ["story 0", "story 0", "story 1"]
    assert template["texts"] == ["0: story 0"]
    assert template["notes"] == []


@pytest.mark.slow
def test_without_hub_and_without_cache(ask):
    (answer,) = ask({"name": "ann/tales"}, HF_HUB_OFFLINE="1")
    assert "unset HF_HUB_OFFLINE" in answer["error"]


@pytest.mark.slow
def test_a_hub_that_is_down(ask):
    (answer,) = ask({"name": "ann/tales"}, HF_ENDPOINT="http://127.0.0.1:9")
    assert "could not be reached" in answer["error"]


@pytest.mark.slow
def test_a_hub_that_is_busy_for_a_while(ask, hub):
    hub.busy_answers = 12
    (answer,) = ask({"name": "ann/tales"})
    assert len(answer["texts"]) == 300
    assert hub.busy_answers == 0

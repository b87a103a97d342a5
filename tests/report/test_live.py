"""The live view: its figures, its lines in a terminal, and the server of the page."""

import contextlib
import json
import threading
import urllib.error
import urllib.request

import pytest

from report.made_runs import entry, make_run, step_line, whole_run
from running import call, wait_until
from yxanul.base.files import folder_lock
from yxanul.cli.watch_screen import screen
from yxanul.report.facts import RunReader
from yxanul.report.live import live_facts
from yxanul.report.server import PageServer


def test_where_a_run_stands(tmp_path):
    stages = [entry("one", 0, 50), entry("two", 50, 100, "running")]
    lines = [step_line(n, **{"perf/seconds_left": (150 - n) / 2}) for n in range(1, 76)]
    run = make_run(tmp_path / "run", stages, lines)
    with folder_lock(run):
        facts = live_facts(RunReader(run))
    assert (facts["stage"], facts["stage_step"], facts["share"]) == ("two", 25, 0.25)
    assert facts["seconds_left"] == 75 * 0.5
    assert len(facts["losses"]) == 75 and facts["losses"][0] > facts["losses"][-1]


@pytest.mark.parametrize("width", [80, 40, 200])
def test_the_screen_fits_its_width(width, tmp_path):
    runs = [whole_run(tmp_path / name) for name in ("a", "b\x1b[31m")]
    text = screen([live_facts(RunReader(run)) for run in runs], width)
    assert "\x1b" not in text.plain and "held-out bits per byte: one 2.0000" in text.plain
    curve = [line for line in text.plain.splitlines() if "█" in line]
    assert curve and max(map(len, curve)) <= max(width, 60)


def test_watch_of_what_has_ended_says_so_and_ends(tmp_path):
    said = call("watch", whole_run(tmp_path / "run"))
    assert said.code == 0 and said.out.startswith("run: passed, stage 'one' 100%, step 300")
    facts = json.loads(call("watch", tmp_path / "run", "--json").out)
    assert facts["runs"][0]["held_out"] == {"one": 2.0}
    assert "training loss" not in call("watch", tmp_path / "run", "--once").err


@contextlib.contextmanager
def served(*runs):
    with PageServer([RunReader(run) for run in runs]) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(address, **headers):
    request = urllib.request.Request(address, headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_server_gives_the_page_and_what_is_new(tmp_path):
    run = make_run(tmp_path / "run", [entry("one", 0, 40, "running")], [step_line(1)])
    with served(run) as server:
        status, page = get(server.url)
        assert status == 200 and '"kind":"runs"' in page and '"live":{' in page
        data = server.url.replace("/?", "/data?")
        status, content = get(data)
        facts = json.loads(content)
        assert status == 200 and facts["runs"][0]["cost"]["steps"] == 1
        assert get(f"{data}&after={facts['live']['after']}") == (204, "")
        with open(run / "metrics.jsonl", "a") as file:
            file.write(json.dumps(step_line(2)) + "\n")
        content = wait_until(lambda: get(f"{data}&after={facts['live']['after']}")[1])
        assert json.loads(content)["runs"][0]["cost"]["steps"] == 2


def test_the_server_is_for_those_who_know_the_token(tmp_path):
    with served(whole_run(tmp_path / "run")) as server:
        root = f"http://127.0.0.1:{server.server_port}/"
        assert server.server_address[0] == "127.0.0.1"
        assert get(root)[0] == get(f"{root}data")[0] == get(f"{root}?token=x")[0] == 403
        assert get(server.url, Host="example.com")[0] == 403
        assert get(server.url, Host="localhost:9999")[0] == 200  # the end of an ssh tunnel
        assert get(server.url.replace("/?", "/metrics.jsonl?"))[0] == 404

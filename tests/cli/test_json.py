"""--json, over every verb: one JSON object on stdout and nothing else, however it ends."""

import errno
import json
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import typer

from running import call
from yxanul.base.errors import GateFailed, Interrupted, YxanulError
from yxanul.cli import entry, signals
from yxanul.cli.app import app
from yxanul.cli.errors import error_facts
from yxanul.cli.output import print_json

PARTS = {"message", "got", "expected", "hint", "where"}
ERRORS = {
    "mistake": (YxanulError("no", got=3, expected="4", hint="count"), 2),
    "recipe": (YxanulError("my recipe.yaml:3:5: optim.lr: unknown key"), 2),
    "gate": (GateFailed("no", facts={"run": "r", "verdict": {"passed": False}}), 3),
    "disk": (OSError(errno.ENOSPC, "No space left on device", "weights"), 2),
    "ctrl-c": (KeyboardInterrupt(), 130),
    "sigint": (Interrupted("stopped", signal_number=signal.SIGINT), 130),
    "sigterm": (Interrupted("stopped", signal_number=signal.SIGTERM), 143),
}


def verbs(group=None, path=()):
    """Return every verb's words and command."""
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from verbs(command, (*path, name))
        else:
            yield (*path, name), command


VERBS = dict(verbs())
every_verb = pytest.mark.parametrize("verb", VERBS, ids=" ".join)


def asked(verb):
    """Return a command line that parses."""
    return [*verb, *("nowhere" for param in VERBS[verb].params if param.required), "--json"]


def answer_of(said):
    """Return the one object on stdout."""
    (line,) = said.out.splitlines()
    return json.loads(line)


@every_verb
def test_the_help_of_a_flag_has_no_type(verb):
    assert "<bool>" not in call(*verb, "--help").out


@pytest.fixture
def does(monkeypatch):
    """Let every verb do something else than its work."""

    def instead(work):
        command = type(next(iter(VERBS.values())))
        monkeypatch.setattr(command, "invoke", lambda self, context: work())

    return instead


def raising(error):
    def work():
        print("a library has something to say")
        raise error

    return work


@pytest.mark.parametrize("kind", ERRORS)
def test_every_kind_of_error_is_one_object(does, kind):
    error, code = ERRORS[kind]
    does(raising(error))
    said = call("run", "nowhere", "--json")
    answer = answer_of(said)
    assert said.code == answer["exit_code"] == code
    assert set(answer["error"]) == PARTS and answer["error"]["message"]
    assert said.error


@every_verb
def test_a_bug_is_one_object_before_its_traceback(does, verb, capsys, monkeypatch):
    does(raising(ZeroDivisionError("division by zero")))
    monkeypatch.setattr(sys, "argv", ["yxanul", *asked(verb)])
    with pytest.raises(ZeroDivisionError):
        entry.run()
    answer = json.loads(capsys.readouterr().out)
    assert answer["exit_code"] == 1
    assert "ZeroDivisionError" in answer["error"]["message"]


@every_verb
def test_a_wrong_command_line_is_one_object(verb):
    said = call(*verb, "--no-such-option", "--json")
    answer = answer_of(said)
    assert said.code == answer["exit_code"] == 2
    assert answer["error"]["hint"] == f"see yxanul {' '.join(verb)} --help"


@pytest.mark.parametrize("words", [["--json"], ["no-such-verb", "--json"], ["data", "--json"]])
def test_no_verb_at_all_is_one_object(words):
    said = call(*words)
    assert said.code == answer_of(said)["exit_code"] == 2


@pytest.mark.parametrize("verb", [verb for verb in VERBS if len(asked(verb)) > len(verb) + 1])
def test_what_is_nowhere_is_one_object(verb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = call(*asked(verb))
    assert said.code == answer_of(said)["exit_code"] == 2
    assert not list(tmp_path.iterdir())


def test_what_libraries_print_is_not_on_stdout(does):
    def work():
        print("a library has something to say")
        print_json({"loss": float("nan")})

    does(work)
    said = call("run", "nowhere", "--json")
    assert said.code == 0 and answer_of(said) == {"loss": None}
    assert "a library" in said.err


@pytest.fixture
def stopped(monkeypatch):
    """What a signal does to a verb that has nothing to save: what it writes, and its exit code."""

    def stopped(*words, answered=False, **environment):
        written = []

        def end(code):
            raise SystemExit(code)

        system = SimpleNamespace(write=lambda _, text: written.append(text), _exit=end)
        system.environ = environment
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        monkeypatch.setattr(signals, "json_is_out", answered)
        monkeypatch.setattr(signals, "os", system)
        monkeypatch.setattr(sys, "argv", ["yxanul", *words])
        try:
            signals.end_by_signals()
            signal.raise_signal(signal.SIGTERM)
        except SystemExit as exit_:
            return exit_.code, written
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return None, written

    return stopped


def test_a_signal_is_one_object(stopped):
    code, (text,) = stopped("show", "--json")
    answer = json.loads(text)
    assert code == answer["exit_code"] == 143 and set(answer["error"]) == PARTS


@pytest.mark.parametrize("others", [{"RANK": "1"}, {"RANK": "0", "YXANUL_REPORT": "file"}])
def test_of_several_processes_one_answers(stopped, others):
    assert stopped("train", "--json", **others) == (143, [])


def test_a_signal_without_json_is_silent(stopped):
    assert stopped("show") == (143, [])


def test_a_signal_after_the_answer_adds_none(stopped, capsys, monkeypatch):
    monkeypatch.setattr(signals, "json_is_out", False)
    print_json({})
    assert capsys.readouterr().out == "{}\n"
    assert stopped("show", "--json", answered=signals.json_is_out) == (None, [])


def test_a_signal_while_python_ends_changes_nothing():
    code = (
        "import os, signal, time\n"
        "from yxanul.cli.signals import end_by_signals\n"
        "class Late:\n"
        "    def __del__(self, kill=os.kill, pid=os.getpid(), number=signal.SIGTERM):\n"
        "        kill(pid, number)\n"
        "end_by_signals()\n"
        "time.late = Late()\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_parts_of_an_error():
    parts = {kind: error_facts(error) for kind, (error, _) in ERRORS.items()}
    assert parts["mistake"]["error"] == {
        "message": "no",
        "got": "3",
        "expected": "4",
        "hint": "count",
        "where": None,
    }
    assert parts["recipe"]["error"]["where"] == "my recipe.yaml:3:5"
    assert parts["gate"]["verdict"] == {"passed": False} and parts["gate"]["run"] == "r"
    assert "weights" in parts["disk"]["error"]["message"]


def test_the_place_of_a_mistake_in_a_recipe(tmp_path):
    recipe = tmp_path / "wrong.yaml"
    for text, line in (("extends: quickstart\nseeed: 1\n", 2), ("a: [1, 2\nb: {\n", 2)):
        recipe.write_text(text)
        where = answer_of(call("show", recipe, "--json"))["error"]["where"]
        assert where.startswith(f"{recipe}:{line}:")
    of_an_override = answer_of(call("show", "quickstart", "seeed=1", "--json"))
    assert of_an_override["error"]["where"] is None


def test_what_an_option_must_be_is_said_plainly():
    for words in (["train", "x", "--devices", "0"], ["generate", "x", "y", "--top-p", "0"]):
        assert "Input should" not in call(*words).error


def test_without_json_stdout_stays_empty(does):
    does(raising(YxanulError("no")))
    said = call("show", "nowhere")
    assert "{" not in said.out and said.error == "yxanul: no"


@every_verb
def test_every_verb_has_examples_in_its_help(verb):
    said = call(*verb, "--help")
    assert said.code == 0 and "Examples" in said.out
    assert f"yxanul {' '.join(verb)}" in " ".join(said.out.split())


def test_help_and_version():
    for words in (["-h"], ["run", "-h"], ["data", "show", "-h"]):
        said = call(*words)
        assert said.code == 0 and "Usage: yxanul" in said.out
    said = call("--version")
    assert said.code == 0 and said.out.startswith("yxanul 0.")
    assert call().out == call("--help").out

"""What the README and the pages it names say holds: commands, paths, the table of presets."""

import json
import re
import shlex
from pathlib import Path

import pytest
import torch

from recipes import write_tiny
from running import call
from yxanul.model.config import ModelSettings
from yxanul.model.count import count_parameters
from yxanul.model.zoo import PRESETS
from yxanul.recipe import load_recipe
from yxanul.recipe.files import installed_files

ROOT = Path(__file__).resolve().parents[2]
README, PRESETS_PAGE, HUGGING_FACE = (
    (ROOT / name).read_text() for name in ("README.md", "docs/presets.md", "docs/hugging-face.md")
)
BLOCKS = re.findall(r"```\n(.*?)```", README, re.DOTALL)


def commands() -> list[list[str]]:
    """Return every yxanul command of the README's blocks, as words."""
    joined = "\n".join(BLOCKS).replace("\\\n", " ")
    found = []
    for line in joined.splitlines():
        for part in line.removeprefix("$ ").split("&&"):
            words = shlex.split(part, comments=True) if "yxanul" in part[:9] else []
            if words[:1] == ["yxanul"] and words[1:] not in found:
                found.append(words[1:])
    return sorted(found, key=lambda words: words[0] != "run")  # the others need its folder


def test_there_are_commands():
    assert len(commands()) > 10


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which the README's runs, texts and recipes exist, small."""
    folder = tmp_path_factory.mktemp("readme")
    recipe = write_tiny(folder)
    (folder / "quickstart.yaml").write_text(recipe.read_text())
    texts = folder / "my-texts"
    texts.mkdir()
    for number in range(40):
        story = f"Story {number}. " + "The small fox ran over the hill to the red barn. " * 30
        (texts / f"{number}.txt").write_text(story)
    (folder / "another-text.txt").write_text("The small fox ran home.")
    (folder / "my-tasks" / "blimp").mkdir(parents=True)
    pair = {"sentence_good": "The fox runs.", "sentence_bad": "The fox run.", "UID": "agreement"}
    (folder / "my-tasks" / "blimp" / "agreement.jsonl").write_text(json.dumps(pair))
    return folder


def param(words: list[str]) -> object:
    """Mark what starts several training processes slow: those verbs have tests of their own."""
    starts_several = words[0] == "verify-resume" or "--devices" in words
    return pytest.param(words, marks=[pytest.mark.slow] * starts_several, id=" ".join(words))


@pytest.mark.parametrize("words", [param(words) for words in commands()])
def test_every_command_runs(words, place):
    """Run it as written, with the tiny recipe in place of quickstart and tiny budgets."""
    words = ["quickstart.yaml" if word == "quickstart" else word for word in words]
    words = [word for word in words if not word.startswith("stages.0.budget")]
    if "quickstart.yaml" in words and words[0] != "show" and "--out" not in words:
        words += ["--out", "runs/quickstart"]
    if words[:2] == ["run", "own-text"]:
        words += ["stages.0.budget={steps: 3}", "tokenizer.vocab_size=300"]
        words += ["model.preset=nano", "model.depth=1", "train.batch_tokens=256"]
        words += ["stages.0.gate.default_rules=false", "data.validation_fraction=0.2"]
    if words[0] == "doctor":
        words += ["--help"]  # what it measures is the business of tests/cli/test_verbs.py
    wanted = 2 if "optim.peak_rat=1e-3" in words else 0
    said = call(*words, cwd=place)
    assert said.code == wanted, said.err


def test_the_mistake_is_quoted_as_it_is(place):
    said = call("run", "own-text", "optim.peak_rat=1e-3", cwd=place)
    assert said.err.strip() in README


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([a-z-]+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_python_runs(place, monkeypatch):
    """In a folder where `my-llama` is a tiny model of that architecture."""
    from yxanul.model.convert import is_pretrained, write_pretrained
    from yxanul.model.language_model import LanguageModel

    model = LanguageModel(ModelSettings(width=32, depth=2, num_heads=2, vocab_size=50))
    model.init_weights(torch.Generator().manual_seed(0))
    write_pretrained(model, place / "my-llama")
    call("run", "quickstart.yaml", "--out", "runs/quickstart", cwd=place)
    monkeypatch.chdir(place)
    for code in re.findall(r"```python\n(.*?)```", HUGGING_FACE, re.DOTALL):
        exec(compile(code, "hugging-face.md", "exec"), {})
    assert is_pretrained(place / "quickstart-hf")
    assert call("generate", "quickstart-hf", "One", "--max-tokens", "4", cwd=place).code == 0


def test_the_table_of_presets_is_exact():
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| ([\d,]+) \|", PRESETS_PAGE, re.MULTILINE)
    assert {name for name, _ in rows} == set(PRESETS)
    for name, parameters in rows:
        settings = ModelSettings.model_validate({"preset": name})
        count = count_parameters(settings.resolved(settings.vocab_size or 4096))
        assert f"{count:,}" == parameters, name


def test_recipes_and_paths_exist():
    names = set(installed_files("recipe")) - {"base"}
    assert all(f"`{name}`" in README for name in names)
    for name in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / name.partition("#")[0]).exists(), name


def test_resolved_recipes_are_what_editors_check(place):
    properties = json.loads(call("schema", cwd=place).out)["properties"]
    assert set(load_recipe("quickstart").model_dump()) <= set(properties)

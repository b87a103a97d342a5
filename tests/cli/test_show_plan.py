from itertools import pairwise

import pytest

from recipes import TINY, write_tiny
from yxanul.cli.show_plan import CURVE_HEIGHT, show_recipe
from yxanul.recipe.files import installed_files


def test_the_curve_begins_in_the_warm_up_and_has_the_peak(tmp_path):
    facts, _ = show_recipe(str(write_tiny(tmp_path)), [])
    one = [point for point in facts["curve"] if point["stage"] == "one"]
    assert [point["step"] for point in one] == list(range(1, 15))
    assert one[0]["rate"] == pytest.approx(0.005) and one[1]["rate"] == 0.01
    # The second half is at half the rate; the line ends in zero one update after the last.
    assert one[-1]["rate"] == pytest.approx(0.5 * 0.01 / 13) and one[-1]["done"] == 1
    assert all(after["rate"] < before["rate"] for before, after in pairwise(one[1:]))


def test_the_picture_is_as_high_as_the_peak_and_as_wide_as_its_stages(tmp_path):
    _, text = show_recipe(str(write_tiny(tmp_path)), [])
    lines = text[text.index("learning rate") :].splitlines()
    drawn = lines[1 : 1 + CURVE_HEIGHT]
    assert drawn[0].startswith("0.01 ┤") and "█" in drawn[0] + drawn[1]
    assert lines[1 + CURVE_HEIGHT].startswith("   0 └┬") and lines[1 + CURVE_HEIGHT].count("┬") == 2
    assert lines[2 + CURVE_HEIGHT].split() == ["one", "two"]
    assert lines[3 + CURVE_HEIGHT].split() == ["14", "steps", "10", "steps"]
    assert max(map(len, drawn)) <= len(lines[1 + CURVE_HEIGHT])


def test_mixes_are_drawn_in_their_shares(tmp_path):
    _, text = show_recipe(str(write_tiny(tmp_path)), [])
    mixes = text[text.index("mix by phase") :].splitlines()
    assert mixes[0] == "mix by phase: █ stories  ▒ math"
    assert mixes[1] == "one 0-1  " + 40 * "█" + "  stories 100%"
    assert mixes[2] == "two 0    " + 30 * "▒" + 10 * "█" + "  math 75%, stories 25%"


def test_one_source_needs_no_picture_of_the_mix():
    assert "mix by phase" not in show_recipe("tinystories", [])[1]


def test_an_unknown_budget_gives_the_form_of_the_curve_without_steps(tmp_path):
    text = TINY.replace("budget: {steps: 14}", "budget: {minutes: 1}")
    facts, shown = show_recipe(str(write_tiny(tmp_path, text)), [])
    one = [point for point in facts["curve"] if point["stage"] == "one"]
    assert {point["step"] for point in one} == {None} and one[-1]["done"] == 1
    assert facts["total_tokens"] is None and "? steps" in shown


def test_all_phases_of_an_unknown_budget_are_shown():
    overrides = ["stages.0.budget={minutes: 1}"]
    assert len(show_recipe("fineweb-ultra", overrides)[0]["phases"]) == 10


def test_smaller_steps_at_the_end_of_a_phase_are_part_of_it():
    phases = show_recipe("progressive-1b", [])[0]["phases"]
    assert [phase["phase"] for phase in phases] == list(range(10))
    assert [phase["tokens"] for phase in phases][-1] == 250_000_000
    assert all(a["from_step"] + a["steps"] == b["from_step"] for a, b in pairwise(phases))


@pytest.mark.parametrize("name", sorted(set(installed_files("recipe")) - {"base"}))
def test_every_installed_recipe_is_drawn(name):
    facts, text = show_recipe(name, [])
    assert facts["curve"] and facts["phases"]
    picture = text[text.index("\nlearning rate") :].splitlines()
    assert max(map(len, picture)) <= 150
    curve = "\n".join(picture).partition("\nmix by phase")[0]
    assert max(map(len, curve.splitlines())) <= 80

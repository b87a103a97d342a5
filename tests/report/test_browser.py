"""The page in a browser: what is drawn is what was recorded, and nothing else happens."""

import importlib.util
import json
import os
import shutil

import pytest

from report.made_runs import entry, loss_at, make_run, step_line, whole_run
from report.test_live import served
from report.test_page import HOSTILE
from yxanul.recipe import load_recipe
from yxanul.report.facts import RunReader
from yxanul.report.page import render, render_report

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
if importlib.util.find_spec("playwright") is None or CHROMIUM is None:
    pytest.skip("a browser (chromium and playwright) is absent", allow_module_level=True)

PATH = """name => [...document.querySelector(`path.curve[data-name="${name}"]`)
  .getAttribute('d').matchAll(/[ML]([-\\d.]+),([-\\d.]+)/g)]
  .map(match => match.slice(1).map(Number))"""
HIT = """([name, x, y]) => {
  const path = document.querySelector(`path.curve[data-name="${name}"]`);
  path.scrollIntoView({block: 'center', behavior: 'instant'});
  const box = path.ownerSVGElement.getBoundingClientRect();
  return document.elementFromPoint(box.left + x, box.top + y) === path;
}"""


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, tmp_path):
    """Open a page; whatever it says to the console, asks for, or throws fails the test."""
    complaints = []

    def opened(page_text_or_url, width=1280):
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append("a dialog"), dialog.dismiss()))
        address = page_text_or_url
        if not address.startswith("http"):
            (tmp_path / "page.html").write_text(page_text_or_url)
            address = (tmp_path / "page.html").as_uri()
        host = address.partition("?")[0].removesuffix("page.html")
        page.on("request", lambda asked: complaints.append(asked.url)
                if not asked.url.startswith((host, "data:")) else None)  # fmt: skip
        page.goto(address)
        return page

    yield opened
    assert complaints == []


@pytest.fixture
def page(visit, tmp_path):
    return visit(render_report([RunReader(whole_run(tmp_path / "run"))]))


def fitted(points, values):
    """Return the largest distance of points from the line through those of two values."""
    (first, last), (at_first, at_last) = (points[0], points[-1]), (values[0], values[-1])
    slope = (last - first) / (at_last - at_first)
    return max(
        abs(first + slope * (value - at_first) - point)
        for point, value in zip(points, values, strict=True)
    )


def test_curves_are_where_the_numbers_are(page):
    points = page.evaluate(PATH, "train/loss")
    steps = range(1, 301)
    assert fitted([x for x, _ in points], list(steps)) < 0.2
    assert fitted([y for _, y in points], [loss_at(step) for step in steps]) < 0.5
    for x, y in points[20:280:40]:
        assert page.evaluate(HIT, ["train/loss", x, y])
        assert not page.evaluate(HIT, ["train/loss", x, y - 25])
    held_out = page.evaluate(PATH, "val/one/bits_per_byte")
    values = [4 / (1 + n / 6) for n in range(1, 7)]
    assert len(held_out) == 6 and fitted([y for _, y in held_out], values) < 0.2


def test_all_axes_agree_on_the_ends(page):
    ends = []
    for axis in ("tokens", "step", "seconds"):
        page.locator(f"label[for=axis-{axis}]").click()
        ends.append(page.evaluate(PATH, "train/loss")[-1])
    assert ends[0] == ends[1] == ends[2]


def test_reading_and_zooming_with_the_keyboard(page):
    from playwright.sync_api import expect

    chart = page.get_by_role("img", name="Training loss")
    chart.focus()
    page.keyboard.press("ArrowRight")
    readout = page.locator("#readout")
    expect(readout).to_contain_text("step 153")
    expect(readout).to_contain_text("one, phase 2 (64 tokens a row)")
    whole = page.evaluate(PATH, "train/loss")
    page.keyboard.press("+")
    zoomed = page.evaluate(PATH, "train/loss")
    assert zoomed[-1][0] - zoomed[0][0] == pytest.approx(2 * (whole[-1][0] - whole[0][0]), rel=0.01)
    page.keyboard.press("Escape")
    assert page.evaluate(PATH, "train/loss") == whole


def test_dragging_zooms_every_curve(page):
    chart = page.get_by_role("img", name="Training loss")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    before = page.evaluate(PATH, "perf/mfu")
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60, steps=4)
    page.mouse.up()
    after = page.evaluate(PATH, "perf/mfu")
    assert after[-1][0] - after[0][0] > 4 * (before[-1][0] - before[0][0])


@pytest.mark.parametrize("width", [1280, 820, 390])
def test_nothing_is_wider_than_the_screen(width, visit, tmp_path):
    page = visit(render_report([RunReader(whole_run(tmp_path / "run"))]), width)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.querySelectorAll('path.curve').length") >= 6


def test_alerts_are_marked_where_they_were_raised(visit, tmp_path):
    alert = {"name": "loss_spike", "severity": "warn", "seen": "a loss of 51"}
    lines = [*map(step_line, range(1, 101)), {"step": 60, "alert": alert}]
    page = visit(
        render_report([RunReader(make_run(tmp_path / "run", [entry("one", 0, 100)], lines))])
    )
    line = page.locator("#chart-0 .alert")
    points = page.evaluate(PATH, "train/loss")
    assert float(line.get_attribute("x1")) == pytest.approx(points[59][0], abs=0.1)
    assert "a loss of 51" in page.locator("#alerts").inner_text()


def test_markup_from_a_run_stays_text(visit, tmp_path):
    lines = [step_line(1), {"step": 1, "samples": f"Once {HOSTILE}"}]
    stages = [entry("<img src=x onerror=alert(3)>", 0, 1)]
    run = make_run(tmp_path / "run", stages, lines, description=HOSTILE)
    page = visit(render_report([RunReader(run)]))
    assert "<script>alert(1)</script>" in page.locator("blockquote").first.inner_text()
    assert page.locator("main img, header img, main script").count() == 0


def test_runs_are_laid_over_each_other_and_can_be_hidden(visit, tmp_path):
    readers = [RunReader(whole_run(tmp_path / name)) for name in ("a", "b")]
    page = visit(render_report(readers))
    curves = page.locator("path.curve[data-name='train/loss']")
    assert curves.count() == 2
    page.get_by_role("button", name="b", exact=True).click()
    assert curves.count() == 1


@pytest.mark.parametrize("shape", ["failed", "begun", "empty", "phases"])
def test_other_shapes_are_drawn(shape, visit, tmp_path):
    stages, lines = {
        "failed": ([entry("one", 0, 20, "failed")], [step_line(n) for n in range(1, 21)]),
        "begun": ([entry("one", 0, 20, "running")], [step_line(1)]),
        "empty": ([], []),
        "phases": ([entry("one", 0, 90)], [step_line(n, (n - 1) // 10) for n in range(1, 91)]),
    }[shape]
    page = visit(render_report([RunReader(make_run(tmp_path / "run", stages, lines))]))
    assert page.locator("path.curve[data-name='train/loss']").count() == bool(lines)
    assert page.locator("#verdicts").count() == 1


@pytest.mark.parametrize("recipe", ["four-stages", "quickstart", "nine-phase"])
def test_the_plan_of_a_recipe(recipe, visit):
    from yxanul.inspect.plan import stage_plan
    from yxanul.inspect.plan_page import plan_page_facts

    loaded = load_recipe(recipe)
    plans = [stage_plan(stage, loaded) for stage in loaded.stages]
    page = visit(render(plan_page_facts(recipe, loaded, plans)))
    assert page.locator(".gate .mark").count() >= len(plans)
    rates = page.evaluate(PATH, "learning_rate")
    xs = [x for x, _ in rates]
    assert xs == sorted(xs) and len(rates) > 50


def test_a_page_follows_its_run(visit, tmp_path):
    from playwright.sync_api import expect

    run = make_run(tmp_path / "run", [entry("one", 0, 40, "running")], [step_line(1), step_line(2)])
    with served(run) as server:
        page = visit(server.url)
        points = page.locator("#chart-0 circle")
        expect(points).to_have_count(2)
        with open(run / "metrics.jsonl", "a") as file:
            file.write(json.dumps(step_line(3)) + "\n")
        expect(points).to_have_count(3)
        page.close()

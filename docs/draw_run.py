"""Draw docs/run.svg, the picture in the README: held-out bits per byte over a run, by domain.

python docs/draw_run.py runs/quickstart
"""

import json
import sys
from pathlib import Path

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 260, 44, 150, 26, 34
COLOURS = ("#2f81f7", "#d9822b", "#3fa34d", "#a85bd6")
FIGURE = "bits_per_byte"


def draw(run: Path) -> str:
    """Return the SVG of a run: a curve a domain, a band a stage, a dashed line for `xz -9e`."""
    stages = json.loads((run / "ledger.json").read_text())["stages"]
    steps = sum(stage["steps"] for stage in stages)
    curves = read_curves(run, stages)
    highest = max(value for points in curves.values() for _, value in points)

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / steps

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / highest)

    out = []
    for number, stage in enumerate(stages):
        start, end = x(stage["first_step"]), x(stage["first_step"] + stage["steps"])
        box = (
            f'x="{start:.1f}" y="{TOP}" width="{end - start:.1f}" height="{HEIGHT - TOP - BOTTOM}"'
        )
        out.append(f'<rect {box} fill="#888" opacity="{0.10 if number % 2 else 0.05}"/>')
        out.append(
            text((start + end) / 2, TOP - 9, f"{stage['name']}: {stage['status']}", "middle")
        )
    for value in range(int(highest) + 1):
        out.append(text(LEFT - 8, y(value) + 4, str(value), "end"))
        out.append(line(LEFT, y(value), WIDTH - RIGHT, y(value), "#888", "0.5"))
    out.append(text(LEFT, HEIGHT - 10, "held-out bits per byte by training step"))
    out.append(text(WIDTH - RIGHT, HEIGHT - 10, f"{steps:,}", "end"))
    for (domain, points), colour in zip(curves.items(), COLOURS, strict=False):
        path = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        end = points[-1][1]
        label = f"{domain} {end:.2f}"
        offset = 4 if domain == min(curves, key=lambda name: curves[name][-1][1]) else -8
        out.append(text(WIDTH - RIGHT + 8, y(end) + offset, label, colour=colour))
        if (xz := xz_of(stages, domain)) is not None:
            out.append(line(LEFT, y(xz), WIDTH - RIGHT, y(xz), colour, "1", "5 4"))
            out.append(text(WIDTH - RIGHT + 8, y(xz) + 4, f"xz -9e {xz:.2f}", colour=colour))
    body = "\n".join(out)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12">\n{body}\n</svg>\n'
    )


def read_curves(run: Path, stages: list) -> dict[str, list[tuple[int, float]]]:
    """Return (step, bits per byte) of each domain, from the first evaluation to the last."""
    curves: dict[str, list[tuple[int, float]]] = {}
    rows = [(stage["first_step"], stage["at_start"]) for stage in stages]
    for record in (run / "metrics.jsonl").read_text().splitlines():
        metrics = json.loads(record)
        rows.append((metrics["step"], metrics))
    for stage in stages:
        rows.append((stage["first_step"] + stage["steps"], stage["at_end"]))
    for step, metrics in sorted(rows, key=lambda row: row[0]):
        for name, value in metrics.items():
            kind, _, rest = name.partition("/")
            domain, _, figure = rest.partition("/")
            if kind == "val" and figure == FIGURE:
                curves.setdefault(domain, []).append((step, value))
    return curves


def xz_of(stages: list, domain: str) -> float | None:
    """Return what `xz -9e` needs for the same text, if a gate compared with it."""
    name = f"val/{domain}/{FIGURE}"
    for stage in stages:
        for finding in stage["verdict"]["findings"]:
            if finding["against"] == "xz" and finding["metric"] == name:
                return stage["at_end"][name] / finding["measured"]
    return None


def text(x: float, y: float, words: str, anchor: str = "start", colour: str = "#888") -> str:
    """Return a label."""
    at = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"'
    return f"<text {at}>{words}</text>"


def line(
    x1: float, y1: float, x2: float, y2: float, colour: str, width: str, dashes: str = "none"
) -> str:
    """Return a straight line."""
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}" stroke-dasharray="{dashes}"/>'


if __name__ == "__main__":
    (Path(__file__).parent / "run.svg").write_text(draw(Path(sys.argv[1])))

"""The table of docs/alerts.md is that of the code. Run as a script, it writes the table."""

from pathlib import Path

from yxanul.monitor.alerts import ALERTS
from yxanul.monitor.alerts.monitor import GENERIC

PAGE = Path(__file__).resolve().parents[2] / "docs" / "alerts.md"
MARK = "<!-- `python tests/monitor/test_alert_page.py` writes the table. -->\n"


def table():
    """Return the rules as a Markdown table; what each looks for is the start of its docstring."""
    rows = [
        "",
        "| alert | severity | looks for | likely cause | what to try |",
        "|---|---|---|---|---|",
    ]
    for name, rule in ALERTS.items():
        first = (rule.check.__doc__ or "").split("\n\n")[0]
        looks_for = " ".join(first.split()).removeprefix("Look for ").rstrip(".")
        advice = rule.advice.format(**GENERIC, step="N")
        rows.append(f"| `{name}` | {rule.severity} | {looks_for} | {rule.cause} | {advice} |")
    return "\n".join(rows) + "\n"


def test_the_page_has_the_table_of_the_code():
    assert PAGE.read_text().partition(MARK)[2] == table()


if __name__ == "__main__":
    before, mark, _ = PAGE.read_text().partition(MARK)
    PAGE.write_text(before + mark + table())

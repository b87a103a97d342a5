"""`yxanul doctor`: what this machine can do, or what looks wrong in a run, and advice."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from yxanul.base.interrupt import StopRequest
from yxanul.base.run_folder import RunFolder
from yxanul.cli.options import JsonOption, argument, flag
from yxanul.cli.output import make_ui, print_json, print_result, print_text

NAME = "doctor"
EXAMPLES = """
yxanul doctor
yxanul doctor --no-compile --json
yxanul doctor runs/quickstart
"""


def command(
    run: Annotated[
        Path | None, argument("[RUN]", "Run folder: look for what went wrong in it.")
    ] = None,
    compile_check: Annotated[
        bool, flag("--compile/--no-compile", "Also test torch.compile (up to a minute).")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Test and time devices, dtypes, attention and compile back ends, and give advice; or apply
    the alert rules to a run's metrics."""
    if run is not None:
        from yxanul.inspect.diagnosis import diagnose

        facts = diagnose(RunFolder(run))
        print_result(facts, diagnosis_text(facts), as_json)
        return

    from yxanul.plan.doctor import examine

    with StopRequest().handled():
        report = examine(make_ui(), with_compile=compile_check)
    if as_json:
        print_json(report)
        return
    for section, facts in report.items():
        print_text(section)
        rows = facts.items() if isinstance(facts, dict) else ((line, "") for line in facts)
        for name, value in rows:
            print_text(f"  {name:<28}{value}".rstrip())


def diagnosis_text(diagnosis: dict[str, Any]) -> str:
    """Return a diagnosis as text: a line a failed gate, four lines an alert."""
    count, failed = len(diagnosis["alerts"]), diagnosis["failed_gates"]
    found = f"{count} alert{'' if count == 1 else 's'}"
    if not (count or failed):
        found = "nothing looks wrong"
    lines = [f"{diagnosis['run']}: {found} in {diagnosis['steps']:,} updates"]
    for stage, failures in failed.items():
        lines.append(f"error: stage '{stage}' failed its gate: {'; '.join(failures)}")
    for alert in diagnosis["alerts"]:
        lines += [
            f"{alert['severity']}: {alert['name']}, step {alert['step']:,}",
            f"  seen    {alert['seen']}",
            f"  likely  {alert['cause']}",
            f"  try     {alert['advice']}",
        ]
    return "\n".join(lines)

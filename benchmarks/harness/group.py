"""All contenders of one comparison: who is in, who dropped out and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.process import Contender, ContenderFailed
from harness.report import say
from harness.shapes import Shape
from peers import Peer


class Group:
    """The processes of one comparison. One that fails is told of and left out."""

    def __init__(self) -> None:
        self.contenders: dict[str, Contender] = {}
        self.absent: dict[str, str] = {}

    def __enter__(self) -> Group:
        return self

    def __exit__(self, *_: object) -> None:
        for contender in self.contenders.values():
            contender.close()

    def start(
        self, table: dict[str, Peer], names: Sequence[str], shape: Shape, job: dict[str, Any]
    ) -> None:
        """Start those of `names` that can take part."""
        for name in names:
            reason = table[name].why_not(shape, job["device"])
            if reason:
                self._drop(name, reason, "skipped")
                continue
            try:
                self.contenders[name] = Contender(job | {"contender": name})
            except ContenderFailed as error:
                self._drop(name, str(error), "failed")

    def ask(self, name: str, command: str, **arguments: Any) -> dict[str, Any] | None:
        """Return a contender's answer, or None if it is out."""
        if name not in self.contenders:
            return None
        try:
            return self.contenders[name].ask(command, **arguments)
        except ContenderFailed as error:
            del self.contenders[name]
            self._drop(name, str(error), "failed")
            return None

    def ask_all(self, command: str, **arguments: Any) -> dict[str, dict[str, Any]]:
        """Return the answers of all, asked one after the other."""
        answers = {name: self.ask(name, command, **arguments) for name in list(self.contenders)}
        return {name: answer for name, answer in answers.items() if answer is not None}

    def _drop(self, name: str, reason: str, how: str) -> None:
        """Note the whole reason, which goes to the file of results; show its first line."""
        self.absent[name] = f"{how}: {reason}"
        say(f"{name} {how}: {reason.splitlines()[0]}")

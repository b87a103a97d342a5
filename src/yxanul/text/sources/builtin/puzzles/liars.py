"""Who lies? One of three is of the other kind, and each says something about another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from yxanul.text.sources.builtin.draws import Draws, take_distinct
from yxanul.text.sources.builtin.puzzles.puzzle import Puzzle, PuzzleKind, listed, people_sizes
from yxanul.text.sources.builtin.word_files import names


@dataclass(frozen=True)
class Claim:
    """Speaker number `speaker` says of number `about` that this one lies, or does not."""

    speaker: int
    about: int
    lies: bool


def make_liars(choices: Sequence[int], draws: Draws) -> Puzzle:
    """Make a puzzle; the choices are who differs, whether that one lies, and three people."""
    odd, odd_lies = choices[0], bool(choices[1])
    people = take_distinct(names(), choices[2:])
    claims = _claims(odd, odd_lies, draws)
    question = " ".join(
        (
            _intro(people, odd_lies, draws),
            *(f'{people[claim.speaker]} says: "{_said(people, claim)}."' for claim in claims),
            f"Who {'is the liar' if odd_lies else 'tells the truth'}?",
        )
    )
    thoughts = [_tested(people, claims, suspect, odd_lies) for suspect in range(3)]
    end = "is the liar" if odd_lies else "tells the truth"
    return Puzzle("liars", question, (*thoughts, f"So {people[odd]} {end}."), people[odd])


def _claims(odd: int, odd_lies: bool, draws: Draws) -> list[Claim]:
    """Draw claims, one a person, until they fit for `odd` alone (about every second draw does)."""
    while True:
        claims = []
        for speaker in range(3):
            about = draws.pick([n for n in range(3) if n != speaker])
            is_true = _lies(speaker, odd, odd_lies) is False
            claims.append(Claim(speaker, about, _lies(about, odd, odd_lies) is is_true))
        if all(who == odd or _misfit(claims, who, odd_lies) for who in range(3)):
            return claims


def _lies(who: int, odd: int, odd_lies: bool) -> bool:
    return (who == odd) is odd_lies


def _misfit(claims: Sequence[Claim], suspect: int, odd_lies: bool) -> Claim | None:
    """Return the first claim that cannot be if `suspect` is the one who differs."""
    for claim in claims:
        is_true = _lies(claim.about, suspect, odd_lies) is claim.lies
        if is_true is _lies(claim.speaker, suspect, odd_lies):
            return claim
    return None


def _intro(people: Sequence[str], odd_lies: bool, draws: Draws) -> str:
    if odd_lies:
        return draws.pick(
            (
                f"One of {listed(people)} always lies. The other two always tell the truth.",
                f"{listed(people)} are in a room. Exactly one of them is a liar, and the other "
                "two tell the truth.",
            )
        )
    return draws.pick(
        (
            f"One of {listed(people)} always tells the truth. The other two always lie.",
            f"{listed(people)} are in a room. Exactly one of them tells the truth, and the other "
            "two are liars.",
        )
    )


def _said(people: Sequence[str], claim: Claim) -> str:
    return f"{people[claim.about]} {'lies' if claim.lies else 'tells the truth'}"


def _tested(people: Sequence[str], claims: Sequence[Claim], suspect: int, odd_lies: bool) -> str:
    rest = [name for n, name in enumerate(people) if n != suspect]
    if odd_lies:
        begin = f"If {people[suspect]} lies, then {listed(rest)} tell the truth."
    else:
        begin = f"If {people[suspect]} tells the truth, then {listed(rest)} lie."
    claim = _misfit(claims, suspect, odd_lies)
    if claim is None:
        return f"{begin} All three sentences fit."
    speaker = people[claim.speaker]
    says = f'{speaker} says "{_said(people, claim)}"'
    if _lies(claim.speaker, suspect, odd_lies):
        return f"{begin} But {says}, which would be true, and {speaker} lies. No."
    return f"{begin} But {says}, which would be false, and {speaker} does not lie. No."


KIND = PuzzleKind(lambda: (3, 2, *people_sizes(3)), make_liars)

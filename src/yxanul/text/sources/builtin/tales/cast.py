"""Who is in the stories: children, talking animals, family; each with fitting pronouns."""

from __future__ import annotations

from functools import cache

GIRLS = (
    "Mia", "Lily", "Anna", "Emma", "Ruby", "Nora", "Zoe", "Ella", "Lucy", "Rosa",
    "Clara", "Maya", "Hana", "Lena", "Molly", "Sara", "Kate", "Julia", "Amy", "Eva",
)  # fmt: skip
BOYS = (
    "Tom", "Ben", "Max", "Sam", "Leo", "Finn", "Jack", "Noah", "Omar", "Paul",
    "Theo", "Hugo", "Milo", "Adam", "Oscar", "Luke", "Ned", "Kofi", "Ravi", "Dan",
)  # fmt: skip
# Talking animals: name -> (what it is, whether it is a she).
ANIMALS = {
    "Pip": ("mouse", False), "Dot": ("mouse", True),
    "Bruno": ("bear", False), "Bella": ("bear", True),
    "Bobo": ("rabbit", False), "Clover": ("rabbit", True),
    "Rusty": ("fox", False), "Vera": ("fox", True),
    "Chip": ("squirrel", False), "Hazel": ("squirrel", True),
    "Otto": ("hedgehog", False), "Tilly": ("hedgehog", True),
    "Felix": ("cat", False), "Luna": ("cat", True),
    "Monty": ("monkey", False), "Coco": ("monkey", True),
}  # fmt: skip

ELDERS = tuple(
    {"elder": word, "e_he": he, "e_He": he.capitalize(), "e_him": him, "e_his": his}
    for word, he, him, his in (
        ("mom", "she", "her", "her"),
        ("dad", "he", "him", "his"),
        ("grandma", "she", "her", "her"),
        ("grandpa", "he", "him", "his"),
        ("aunt", "she", "her", "her"),
        ("uncle", "he", "him", "his"),
    )
)


def hero_words(name: str, kind: str, is_she: bool) -> dict[str, str]:
    """Return the fields of the main character."""
    he, him, his = ("she", "her", "her") if is_she else ("he", "him", "his")
    return {
        "hero": name,
        "kind": kind,
        "he": he,
        "He": he.capitalize(),
        "him": him,
        "his": his,
        "His": his.capitalize(),
        "himself": "herself" if is_she else "himself",
    }


def friend_words(name: str, kind: str | None, is_she: bool) -> dict[str, str]:
    """Return the fields of the friend; `kind` is said at the first mention of an animal."""
    he, him, his = ("she", "her", "her") if is_she else ("he", "him", "his")
    return {
        "friend": name,
        "friend_full": f"{name} the {kind}" if kind else name,
        "f_he": he,
        "f_He": he.capitalize(),
        "f_him": him,
        "f_his": his,
        "f_His": his.capitalize(),
    }


@cache
def pairs(with_animals: bool) -> tuple[dict[str, str], ...]:
    """Return every (hero, friend) pair as one set of fields: children, then animals if asked."""
    children = [(name, "girl", True) for name in GIRLS] + [(name, "boy", False) for name in BOYS]
    animals = [(name, kind, is_she) for name, (kind, is_she) in ANIMALS.items()]
    result = []
    for group, is_animal in ((children, False), (animals, True))[: 2 if with_animals else 1]:
        for hero in group:
            for name, kind, is_she in group:
                if name != hero[0]:
                    friend = friend_words(name, kind if is_animal else None, is_she)
                    result.append({**hero_words(*hero), **friend})
    return tuple(result)

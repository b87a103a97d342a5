"""The kinds of arithmetic problems: numbers to choose, sentences to say, steps to work out.

In the sentences {a} {b} {c} {d} are the numbers of the question, {r1} {r2} {r3} the results of
the steps; the last result is the answer. Every question names every number and word it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

Numbers: TypeAlias = Mapping[str, int]


@dataclass(frozen=True)
class Kind:
    """One kind of problem. `ranges` are what is chosen; `work_out` makes the other numbers."""

    name: str
    ranges: Mapping[str, range]
    work_out: Callable[[Numbers], dict[str, int]]
    things: tuple[dict[str, str], ...]
    questions: tuple[str, ...]
    steps: tuple[tuple[str, ...], ...]


def _things(*pairs: str) -> tuple[dict[str, str], ...]:
    words = (pair.split("/") for pair in pairs)
    return tuple({"thing": one, "things": many} for one, many in words)


TOYS = _things(
    "marble/marbles", "sticker/stickers", "shell/shells", "card/cards", "pencil/pencils",
    "balloon/balloons", "button/buttons", "coin/coins", "bead/beads", "stamp/stamps",
    "toy car/toy cars", "crayon/crayons",
)  # fmt: skip
FOOD = _things(
    "apple/apples", "cookie/cookies", "cherry/cherries", "pear/pears", "plum/plums", "nut/nuts",
    "orange/oranges", "carrot/carrots", "grape/grapes", "egg/eggs", "muffin/muffins", "bun/buns",
)  # fmt: skip
WARES = _things(
    "book/books", "notebook/notebooks", "pen/pens", "ball/balls", "cup/cups", "brush/brushes",
    "hat/hats", "candle/candles", "plate/plates", "bowl/bowls", "scarf/scarves", "kite/kites",
)  # fmt: skip
BOXES = tuple(
    {"box": box, "boxes": boxes, **thing}
    for box, boxes in (("box", "boxes"), ("bag", "bags"), ("basket", "baskets"), ("jar", "jars"))
    for thing in TOYS + FOOD
)
FRUIT = tuple(
    {"plant": spec, "plants": plants, **fruit}
    for spec, plants, fruits in (
        (
            "tree",
            "trees",
            ("pear/pears", "plum/plums", "lemon/lemons", "fig/figs", "peach/peaches"),
        ),
        ("bush", "bushes", ("rose/roses", "berry/berries", "flower/flowers")),
        ("plant", "plants", ("tomato/tomatoes", "pepper/peppers", "pumpkin/pumpkins")),
        ("vine", "vines", ("melon/melons",)),
    )
    for fruit in _things(*fruits)
)
EVENTS = tuple(
    {"event": event}
    for event in (
        "The school party", "The picnic", "The train ride", "The boat trip", "The puppet show",
        "The game", "The music class", "The swim class", "The art class", "The film",
        "The walk", "The bus ride",
    )
)  # fmt: skip
HABITS = tuple(
    {"does": does, "do": do}
    for does, do in (
        ("reads", "read"), ("draws", "draw"), ("swims", "swim"), ("runs", "run"),
        ("plays the flute", "play the flute"), ("plays chess", "play chess"),
        ("rides a bike", "ride a bike"), ("dances", "dance"), ("sings", "sing"),
        ("practices the piano", "practice the piano"), ("cooks", "cook"), ("skates", "skate"),
    )
)  # fmt: skip

KINDS: tuple[Kind, ...] = (
    Kind(
        "gain",
        {"a": range(2, 61), "b": range(2, 41)},
        lambda n: {"r1": n["a"] + n["b"]},
        TOYS + FOOD,
        (
            "{name} has {a} {things}. {other} gives {him} {b} more. How many {things} does {name} "
            "have [now|in all]?",
            "{name} has {a} {things}. Then {he} gets {b} more {things} from {other}. How many "
            "{things} does {he} have [now|in all]?",
            "There are {a} {things} [in {name}'s box|on {name}'s table]. {other} brings {b} more. "
            "How many {things} are there [now|together]?",
            "{name} has {a} {things} and {other} has {b} {things}. How many {things} do they have "
            "[together|in all]?",
        ),
        (("[We add|Add] the numbers: {a} + {b} = {r1}.", "{a} + {b} = {r1} {things}."),),
    ),
    Kind(
        "loss",
        {"b": range(2, 41), "r1": range(2, 41)},
        lambda n: {"a": n["r1"] + n["b"]},
        TOYS + FOOD,
        (
            "{name} has {a} {things}. {He} gives {b} of them to {other}. How many {things} does "
            "{name} have left?",
            "{name} had {a} {things}, but {b} of them got lost. {other} helped {him} look, but "
            "found none. How many {things} are left?",
            "There were {a} {things} in {name}'s bag. {other} took {b} out. How many {things} are "
            "[still in the bag|left in the bag]?",
            "{name} and {other} had {a} {things}. They gave {b} away. How many {things} do they "
            "have now?",
        ),
        (("[We take away|Take away]: {a} - {b} = {r1}.", "{a} - {b} = {r1} {things} are left."),),
    ),
    Kind(
        "groups",
        {"a": range(2, 13), "b": range(2, 13)},
        lambda n: {"r1": n["a"] * n["b"]},
        BOXES,
        (
            "{name} and {other} have {a} {boxes} with {b} {things} in each {box}. How many "
            "{things} do they have in all?",
            "{name} fills {a} {boxes}. {other} helps {him} to put {b} {things} into each {box}. "
            "How many {things} do they need?",
            "There are {b} {things} in each {box}. {name} gives {other} {a} {boxes}. How many "
            "{things} does {other} get?",
        ),
        (("Each {box} has {b} {things}, so {a} * {b} = {r1}.", "{a} * {b} = {r1} {things}."),),
    ),
    Kind(
        "sharing",
        {"b": range(2, 13), "r1": range(2, 13)},
        lambda n: {"a": n["b"] * n["r1"]},
        BOXES,
        (
            "{name} and {other} put {a} {things} into {b} {boxes}, the same number in each {box}. "
            "How many {things} are in each {box}?",
            "{name} has {a} {things} and {b} {boxes}. {other} helps {him} to fill the {boxes} "
            "equally. How many {things} go into one {box}?",
            "{b} {boxes} hold {a} {things} in all, and each {box} holds the same number. {name} "
            "gives {other} one {box}. How many {things} does {other} get?",
        ),
        (("[We divide|Divide]: {a} / {b} = {r1}.", "{a} / {b} = {r1} {things} in each {box}."),),
    ),
    Kind(
        "difference",
        {"b": range(2, 41), "r1": range(2, 31)},
        lambda n: {"a": n["r1"] + n["b"]},
        TOYS + FOOD,
        (
            "{name} has {a} {things}. {other} has {b} {things}. How many more {things} does {name} "
            "have than {other}?",
            "{name} found {a} {things} and {other} found {b}. How many fewer {things} did {other} "
            "find?",
            "{name} wants as few {things} as {other}. {name} has {a}, and {other} has {b}. How "
            "many {things} must {name} give away?",
        ),
        (("[We compare|Compare]: {a} - {b} = {r1}.", "The difference is {a} - {b} = {r1}."),),
    ),
    Kind(
        "more_than",
        {"a": range(2, 41), "b": range(2, 21)},
        lambda n: {"r1": n["a"] + n["b"], "r2": 2 * n["a"] + n["b"]},
        TOYS + FOOD,
        (
            "{name} has {a} {things}. {other} has {b} more {things} than {name}. How many {things} "
            "do they have together?",
            "{other} has {b} {things} more than {name}, and {name} has {a}. How many {things} do "
            "the two have in all?",
        ),
        (
            ("{other} has {a} + {b} = {r1} {things}.",),
            (
                "Together they have {a} + {r1} = {r2} {things}.",
                "So in all there are {a} + {r1} = {r2}.",
            ),
        ),
    ),
    Kind(
        "times_as_many",
        {"a": range(2, 21), "b": range(2, 6)},
        lambda n: {"r1": n["a"] * n["b"], "r2": n["a"] * (n["b"] + 1)},
        TOYS + FOOD,
        (
            "{name} has {a} {things}. {other} has {b} times as many {things} as {name}. How many "
            "{things} do they have together?",
            "{other} has {b} times as many {things} as {name}, and {name} has {a}. How many "
            "{things} do the two have in all?",
        ),
        (
            ("{other} has {b} * {a} = {r1} {things}.",),
            (
                "Together they have {a} + {r1} = {r2} {things}.",
                "So in all there are {a} + {r1} = {r2}.",
            ),
        ),
    ),
    Kind(
        "gain_and_loss",
        {"c": range(2, 16), "r0": range(2, 31), "b": range(2, 21)},
        lambda n: {
            "a": n["r0"] + n["c"],
            "r1": n["r0"] + n["c"] + n["b"],
            "r2": n["r0"] + n["b"],
        },
        TOYS + FOOD,
        (
            "{name} has {a} {things}. {He} gets {b} more and then gives {c} to {other}. How many "
            "{things} does {name} have at the end?",
            "{name} had {a} {things} in the morning. {other} gave {him} {b} at noon, and {he} lost "
            "{c} in the evening. How many {things} does {he} have now?",
        ),
        (
            ("First {name} has {a} + {b} = {r1} {things}.",),
            ("Then {he} has {r1} - {c} = {r2} {things}.", "After that, {r1} - {c} = {r2}."),
        ),
    ),
    Kind(
        "change",
        {"a": range(2, 10), "b": range(2, 13), "r2": range(2, 31)},
        lambda n: {"c": n["a"] * n["b"] + n["r2"], "r1": n["a"] * n["b"]},
        WARES,
        (
            "{name} has {c} dollars. {He} buys {a} {things} for {other}. Each {thing} costs {b} "
            "dollars. How much money does {name} have left?",
            "{name} and {other} have {c} dollars. They buy {a} {things} for {b} dollars each. How "
            "many dollars do they have left?",
            "A {thing} costs {b} dollars. {name} buys {a} {things} and {other} lends {him} {c} "
            "dollars to pay for them. How many dollars are left?",
        ),
        (
            ("The {things} cost {a} * {b} = {r1} dollars.",),
            ("{c} - {r1} = {r2} dollars are left.", "So {c} - {r1} = {r2} dollars are left."),
        ),
    ),
    Kind(
        "shopping",
        {"a": range(2, 8), "b": range(2, 10), "c": range(3, 13), "r3": range(2, 21)},
        lambda n: {
            "d": n["a"] * n["b"] + n["c"] + n["r3"],
            "r1": n["a"] * n["b"],
            "r2": n["a"] * n["b"] + n["c"],
        },
        WARES,
        (
            "{name} buys {a} {things} for {b} dollars each and a cake for {c} dollars. {He} pays "
            "with {d} dollars that {other} gave {him}. How many dollars does {he} get back?",
            "{name} and {other} have {d} dollars. They buy {a} {things} at {b} dollars each and a "
            "game for {c} dollars. How much money is left?",
        ),
        (
            ("The {things} cost {a} * {b} = {r1} dollars.",),
            ("In all they pay {r1} + {c} = {r2} dollars.", "Everything costs {r1} + {c} = {r2}."),
            ("{d} - {r2} = {r3} dollars.", "So {d} - {r2} = {r3} dollars are left."),
        ),
    ),
    Kind(
        "clock",
        {"a": range(1, 8), "b": range(2, 5)},
        lambda n: {"r1": n["a"] + n["b"]},
        EVENTS,
        (
            "{event} starts at {a} o'clock and lasts {b} hours. {name} and {other} are "
            "there from the start. At what time are they done?",
            "{name} goes with {other}. {event} begins at {a} o'clock and takes {b} hours. At what "
            "hour does it end?",
        ),
        (("{a} + {b} = {r1}, so it ends at {r1} o'clock.", "It ends at {a} + {b} = {r1}."),),
    ),
    Kind(
        "minutes",
        {"a": range(5, 31, 5), "b": range(2, 8), "c": range(5, 31, 5)},
        lambda n: {"r1": n["a"] + n["c"], "r2": (n["a"] + n["c"]) * n["b"]},
        HABITS,
        (
            "{name} {does} for {a} minutes in the morning and {c} minutes in the evening. {other} "
            "asks: how many minutes is that in {b} days?",
            "Every day {name} {does} alone for {a} minutes and with {other} for {c} minutes. How "
            "many minutes does {he} {do} in {b} days?",
        ),
        (
            ("In one day it is {a} + {c} = {r1} minutes.",),
            ("In {b} days it is {b} * {r1} = {r2} minutes.",),
        ),
    ),
    Kind(
        "ages",
        {"a": range(4, 31), "b": range(2, 16), "c": range(2, 13)},
        lambda n: {"r1": n["a"] + n["b"], "r2": n["a"] + n["b"] + n["c"]},
        ({},),
        (
            "{name} is {a} years old. {other} is {b} years older than {name}. How old will {other} "
            "be in {c} years?",
            "{other} is {b} years older than {name}, who is {a} now. What will be the age of "
            "{other} {c} years from now?",
        ),
        (
            ("{other} is {a} + {b} = {r1} years old now.",),
            ("In {c} years, {other} will be {r1} + {c} = {r2}.", "Later it is {r1} + {c} = {r2}."),
        ),
    ),
    Kind(
        "packs_left",
        {"a": range(3, 10), "b": range(3, 11), "c": range(2, 8)},
        lambda n: {"r1": n["a"] * n["b"], "r2": n["a"] * n["b"] - n["c"]},
        BOXES,
        (
            "{name} has {a} {boxes} of {things} with {b} in each {box}. {He} gives {c} {things} to "
            "{other}. How many {things} are left?",
            "{name} buys {a} {boxes}. There are {b} {things} in each {box}. {other} takes {c} of "
            "the {things}. How many {things} does {name} still have?",
        ),
        (
            ("There are {a} * {b} = {r1} {things} in the {boxes}.",),
            ("{r1} - {c} = {r2} {things} are left.", "Then {r1} - {c} = {r2}."),
        ),
    ),
    Kind(
        "share_the_rest",
        {"b": range(2, 16), "c": range(2, 9), "r2": range(2, 11)},
        lambda n: {"a": n["c"] * n["r2"] + n["b"], "r1": n["c"] * n["r2"]},
        FOOD,
        (
            "{name} has {a} {things}. {He} gives {b} to {other} and shares the rest equally among "
            "{c} friends. How many {things} does each friend get?",
            "There are {a} {things} on the table. {name} and {other} eat {b} of them and put the "
            "rest on {c} plates, the same on each. How many {things} are on one plate?",
        ),
        (
            ("The rest is {a} - {b} = {r1} {things}.",),
            ("{r1} / {c} = {r2} {things}.", "Each gets {r1} / {c} = {r2}."),
        ),
    ),
    Kind(
        "harvest",
        {"a": range(2, 7), "b": range(2, 6), "c": range(2, 9), "d": range(2, 8)},
        lambda n: {
            "r1": n["a"] * n["b"],
            "r2": n["a"] * n["b"] * n["c"],
            "r3": n["a"] * n["b"] * n["c"] - n["d"],
        },
        FRUIT,
        (
            "{name} has {a} rows of {plants} with {b} {plants} in each row. Each {plant} gives {c} "
            "{things}. {other} eats {d} {things}. How many {things} are left?",
            "{name} and {other} plant {a} rows with {b} {plants} each. Every {plant} bears {c} "
            "{things}. They sell {d} {things}. How many {things} do they still have?",
        ),
        (
            ("There are {a} * {b} = {r1} {plants}.",),
            ("They give {r1} * {c} = {r2} {things}.",),
            ("{r2} - {d} = {r3} {things} are left.", "So {r2} - {d} = {r3}."),
        ),
    ),
    Kind(
        "saving",
        {"a": range(2, 11), "b": range(2, 9), "c": range(2, 16), "r3": range(2, 21)},
        lambda n: {
            "d": n["a"] * n["b"] + n["c"] + n["r3"],
            "r1": n["a"] * n["b"],
            "r2": n["a"] * n["b"] + n["c"],
        },
        ({},),
        (
            "{name} saves {a} dollars a week for {b} weeks. {other} gives {him} {c} dollars. {He} "
            "wants a bike for {d} dollars. How many dollars are missing?",
            "A tent costs {d} dollars. {name} puts {a} dollars into a jar every week for {b} "
            "weeks, and {other} puts in {c} dollars. How many more dollars do they need?",
        ),
        (
            ("{b} weeks give {b} * {a} = {r1} dollars.",),
            ("With the other money it is {r1} + {c} = {r2} dollars.",),
            ("{d} - {r2} = {r3} dollars are missing.", "They need {d} - {r2} = {r3} more."),
        ),
    ),
)

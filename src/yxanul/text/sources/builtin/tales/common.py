"""Moments that every tale shares: openings, habits, places and last lines."""

from __future__ import annotations

from yxanul.text.sources.builtin.tales.tale import Beat, Slot

OPENING: Beat = (
    "Once upon a time, there was a [little|young|kind|cheerful] {kind} named {hero}.",
    "There once was a [little|small|happy|gentle] {kind} called {hero}.",
    "{hero} was a [kind|happy|brave|clever|quiet] {kind} who lived "
    "[in a small village|in a little white house|near a big old tree|next to a bakery].",
    "In a [small|little|cozy] house [at the end of a long street|in a quiet village] "
    "lived a {kind} named {hero}.",
    "This is the story of a [little|young|brave|gentle] {kind} named {hero}.",
    "Far away, in a [quiet|small|sunny] village, there lived a [little|young] {kind} named {hero}.",
    "{hero} was a [little|young] {kind} with "
    "[a big smile|bright eyes|a warm heart|many good ideas].",
    "Once there was a {kind} named {hero} who [loved to laugh|was always busy|loved to ask "
    "questions|liked to help].",
    "Not so long ago, a [happy|little|clever] {kind} named {hero} lived "
    "[with {his} family in a small house|in a little house with a blue door].",
    "Do you know the story of {hero}, the [little|brave|clever|happy] {kind}? It goes like this.",
    "On a [small|quiet|sunny] street, in a house with a [blue|red|green] door, lived a "
    "[little|young] {kind} named {hero}.",
    "A long time ago, there was a [quiet|gentle|young] {kind}, and everyone called {him} {hero}.",
    "{hero} was not a [big|tall|loud] {kind}, but {he} had a [big|warm|brave] heart.",
    "There was a {kind} in our village. {His} name was {hero}, and {he} was [very kind|always "
    "happy|a little wild|never tired].",
)

HABIT: Beat = (
    "",
    "",
    "{He} loved to [sing|dance|draw|run|jump] and to [play outside|look at the stars|"
    "tell stories|make new friends].",
    "{He} [always smiled at everyone|often shared {his} lunch|liked to help at home|"
    "said hello to every bird].",
    "Everyone liked {him} because {he} [laughed a lot|was always polite|was good to others].",
    "{He} had [a lot of|many] friends, [old and young|big and small].",
    "Every day, {he} [played outside|ran around in the sun|learned something new].",
    "",
    "[Every morning|Every evening], {he} liked to [feed the birds|sit under a "
    "tree|sing a song|look at the clouds].",
    "{He} was [six|five|seven] years old and [liked apples|knew many songs|could run very fast].",
    "{His} [pockets were|bag was] always full of [stones|feathers|shells|buttons].",
    "{His} favorite color was [red|blue|green|yellow|orange], and {his} favorite food was "
    "[soup|bread with honey|cheese].",
    "{He} had [two sisters|three brothers|a baby sister].",
    "There was always a smile on {his} face.",
)

PLACES: Slot = (
    {
        "place": "park",
        "at_place": "at the park",
        "to_place": "to the park",
        "seen": "[Some ducks swam on the pond.|Children played on the grass.|"
        "A dog ran after a stick.]",
    },
    {
        "place": "beach",
        "at_place": "on the beach",
        "to_place": "to the beach",
        "seen": "[The waves rolled over the sand.|White birds flew over the water.|"
        "The sand was warm and soft.]",
    },
    {
        "place": "woods",
        "at_place": "in the woods",
        "to_place": "to the woods",
        "seen": "[The tall trees moved in the wind.|Birds sang in the trees.|"
        "The path was soft and green.]",
    },
    {
        "place": "farm",
        "at_place": "on the farm",
        "to_place": "to the farm",
        "seen": "[The cows ate grass in the field.|A rooster sat on the fence.|"
        "The hens ran around the yard.]",
    },
    {
        "place": "lake",
        "at_place": "by the lake",
        "to_place": "to the lake",
        "seen": "[The water was blue and calm.|A frog jumped from a leaf.|"
        "Small fish swam near the shore.]",
    },
    {
        "place": "meadow",
        "at_place": "in the meadow",
        "to_place": "to the meadow",
        "seen": "[Yellow flowers grew everywhere.|Bees flew from flower to flower.|"
        "The grass was tall and green.]",
    },
    {
        "place": "hill",
        "at_place": "on the hill",
        "to_place": "to the hill",
        "seen": "[The houses looked tiny from there.|The wind was strong up there.|"
        "Some sheep slept in the grass.]",
    },
    {
        "place": "river",
        "at_place": "by the river",
        "to_place": "to the river",
        "seen": "[The water ran fast over the stones.|A blue bird sat on a rock.|"
        "A family of ducks swam by.]",
    },
    {
        "place": "playground",
        "at_place": "at the playground",
        "to_place": "to the playground",
        "seen": "[The slide was bright in the sun.|Children laughed on the swings.|"
        "Some girls were jumping rope.]",
    },
    {
        "place": "market",
        "at_place": "at the market",
        "to_place": "to the market",
        "seen": "[People sold apples and cheese.|The air smelled of fresh bread.|"
        "There were flowers and fruit in every color.]",
    },
)

# Who speaks: after a quotation, the name may stand before or behind the verb.
SPEECH: dict[str, str] = {
    f"{who}_{verb}": told.replace("VERB", verb)
    for verb in ("said", "asked")
    for who, told in {
        "hero": "[VERB {hero}|{hero} VERB]",
        "he": "[{he}|{hero}] VERB",
        "friend": "[VERB {friend}|{friend} VERB]",
        "f_he": "[{f_he}|{friend}] VERB",
        "elder": "[VERB {his} {elder}|{his} {elder} VERB]",
        "hero_elder": "[VERB {hero}'s {elder}|{hero}'s {elder} VERB]",
        "e_he": "[{e_he}|{his} {elder}] VERB",
        "owner": "[VERB the {owner}|the {owner} VERB]",
        "o_he": "[{o_he}|the {owner}] VERB",
    }.items()
}

LAST_LINE: Beat = ("", "", "", "", "The end.")

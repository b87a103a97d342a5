"""A seed is planted; waiting is hard, trouble comes, and in the end something grows."""

from __future__ import annotations

from yxanul.text.sources.builtin.tales.common import HABIT, LAST_LINE, OPENING
from yxanul.text.sources.builtin.tales.tale import Slot, Tale


def _plant(spec: str, seed: str, grown: str, treat: str) -> dict[str, str]:
    return {"plant": spec, "seed": seed, "grown": grown, "treat": treat}


PLANTS: Slot = (
    _plant(
        "sunflower",
        "striped",
        "a sunflower as tall as a [door|house]",
        "They gave the seeds to the birds.",
    ),
    _plant(
        "pumpkin",
        "flat white",
        "an orange pumpkin as big as a [wheel|chair]",
        "They made a big pot of soup with it.",
    ),
    _plant(
        "tomato plant",
        "tiny yellow",
        "a plant full of round red tomatoes",
        "They ate the tomatoes with bread and cheese.",
    ),
    _plant(
        "bean plant",
        "brown",
        "a green plant with [a hundred|many] long beans",
        "They cooked the beans for the whole family.",
    ),
    _plant(
        "melon",
        "black",
        "a sweet green melon as round as a ball",
        "They cut it open and the juice ran down their chins.",
    ),
    _plant(
        "carrot",
        "thin gray",
        "a carrot so long that two had to pull it out",
        "They each took a big bite from one end.",
    ),
    _plant(
        "rose bush",
        "hard little",
        "a bush full of [pink|red] roses",
        "They put one rose on every table in the house.",
    ),
    _plant(
        "strawberry plant",
        "tiny red",
        "a plant with sweet red strawberries",
        "They ate them one by one, still warm from the sun.",
    ),
)

BEDS: Slot = tuple(
    {"bed": bed}
    for bed in (
        "behind the house",
        "by the old fence",
        "in a big clay pot",
        "next to the well",
        "under {his} window",
        "in a corner of the yard",
    )
)


def _trouble(trouble: str, remedy: str) -> dict[str, str]:
    return {"trouble": trouble, "remedy": remedy}


TROUBLES: Slot = (
    _trouble(
        "it did not rain for weeks, and the leaves hung down",
        "They carried water [every morning|from the kitchen], one can after another.",
    ),
    _trouble(
        "hungry snails came and ate holes in the leaves",
        "They picked up the snails and carried them far away to the tall grass.",
    ),
    _trouble(
        "a [strong|wild] storm came and bent the stem",
        "They tied the stem to a stick with a soft ribbon.",
    ),
    _trouble(
        "weeds grew all around and took its light",
        "They pulled out the weeds one by one until their hands were green.",
    ),
    _trouble(
        "a goat got into the yard and wanted to eat it",
        "They led the goat away and built a little fence out of sticks.",
    ),
)

SEED = (
    "One day, {he} found a {seed} seed [in {his} pocket|on the road|in an old box]. "
    '"[What will it be|What can this be]?" {he_asked}.',
    "One spring [morning|day], {he} got a {seed} seed from a [kind|friendly] neighbor.",
    "In spring, a bird dropped a {seed} seed in front of {his} feet.",
    "One [sunny|fine] day in spring, {hero} held a {seed} seed in {his} hand.",
    '"Here is a {seed} seed for you," said a [kind|friendly] neighbor to {him} one day.',
    "On {his} birthday, {hero} got a very small gift. It was a {seed} seed.",
    '"What have you got there?" asked {hero}\'s [mom|dad|grandma]. In {his} hand was a {seed} '
    "seed. It was spring.",
    "It all began in spring with a {seed} seed that {hero} found [on the kitchen floor|in an old "
    "pot|in the grass].",
)

PLANT = (
    "{hero} dug a hole {bed} and put the seed in.",
    "{hero} planted the seed {bed} and [gave it some water|covered it with earth].",
    '"Sleep well, little seed," {hero_said}, and planted it {bed}.',
    "{hero} planted it {bed}, where the sun was [warm|strong].",
    "{hero} [looked for a good place|thought for a while] and then planted the seed {bed}.",
    '"This is your new home," {hero_said} to the seed, and put it in the earth {bed}.',
    "There was a good place {bed}. {hero} put the seed there and [gave it some water|sang a song "
    "for it].",
)

WAIT = (
    "{He} waited one day, two days, three days. Nothing happened.",
    "Every morning, {he} ran out to look, but there was only earth.",
    '"[Why does it not grow|When will it grow]?" {he_asked}. {He} [waited and waited|was sad].',
    "A week went by. {hero} [watered it|sat beside it] every day, but nothing came up.",
    "{hero} wanted to [dig it up again|give up]. Waiting was so hard!",
    "One week, two weeks, and still nothing! {hero} [could hardly wait|kicked a stone].",
    "{hero} looked at the earth in the morning, and {he} looked at it in the evening. It was "
    "[always|only] brown.",
)

FRIEND = (
    '{His} friend {friend_full} came by. "[Be patient|A seed needs time]," {friend_said}.',
    '"Seeds are slow," said {his} friend {friend_full}. "[Let us sing to it|Give it time]."',
    '{hero} told {his} friend {friend_full} about it. "[It is busy under the earth|Good things '
    'need time]," {friend_said}.',
    '{His} friend {friend_full} came to [see it|visit]. "[I will wait with you|It is only '
    'sleeping]," {friend_said}.',
    '{His} best friend, {friend_full}, laughed. "[You can not pull a plant out of the earth|'
    'It will come when it is ready]," {f_he_said}.',
    '"Nothing grows here," {hero} told {his} friend {friend_full}. "[Wait a little more|It only '
    'needs time]," {friend_said}.',
    '{His} friend {friend_full} put an ear to the ground. "I think I can hear it grow," '
    "{f_he_said}.",
)

SPROUT = (
    "And one morning, there was a tiny green tip! {hero} [jumped for joy|shouted with joy].",
    "Then, after a [warm|soft] rain, two small leaves came up.",
    'At last, something green looked out of the earth. "[Hello, little plant|There you are]!" '
    "{hero_said}.",
    'The next week, a little green stem stood there. "[It is alive|It is growing]!" cried {hero}.',
    "And then it came up, small and green and [full of life|very lovely].",
    '"Come quick!" called {hero}. "[There is a leaf|It is here]!" And it was true.',
    "One [sunny|warm] [day|morning], {hero} saw a bit of green. It was the [first|very first] "
    "leaf.",
)

TROUBLE = (
    "It grew and grew. But then {trouble}.",
    "All went well until {trouble}.",
    'In summer, {trouble}. "[Oh no|Poor plant]!" {hero_said}.',
    "But when it was as tall as a cup, {trouble}. {hero} was [worried|scared].",
    "Then there was trouble. First it was fine, but then {trouble}.",
    "The little plant was happy. But then {trouble}. What now?",
    "Nothing is easy for a young plant. First it grew well, but then {trouble}.",
)

REMEDY = (
    '"We have to [help|save] it!" {friend_said}. {remedy}',
    "{hero} called {friend}, and {f_he} came [at once|running]. {remedy}",
    "The two friends did not give up. {remedy}",
    '"[Quick|Come]!" {hero_said} to {friend}. {remedy}',
    "{hero} and {friend} knew what to do. {remedy}",
    '"We will help you, little plant," {friend_said}. {remedy}',
    "It was a good thing that there were two of them. {remedy}",
)

GROWN = (
    "By the end of summer, there it was, {grown}!",
    "And so it grew into {grown}.",
    '"Look at that!" {friend_said}. It was {grown}.',
    "In the end, the small seed had become {grown}.",
    "When the days grew shorter, they had {grown}. Everyone came to see it.",
    "And what stood there when summer was over? It was {grown}!",
    "From one small seed came {grown}. [What a surprise|How wonderful]!",
)

END = (
    '"[It was worth the wait|Waiting was hard, but it was good]," {hero_said}.',
    "{hero} kept one seed in a little box for the next spring.",
    "{hero} learned that [good things grow slowly|care and time make things grow].",
    "And the {plant} [made everyone smile|was the talk of the village].",
    '"Next year, we will plant [ten|two] of them," {friend_said}.',
    "{hero} was very proud of the {plant}.",
    "{hero} and {friend} sat side by side and were [happy|proud].",
    '"And it all came from one little seed," {hero_said}.',
)

TALE = Tale(
    name="grow",
    with_animals=True,
    slots=(PLANTS, BEDS, TROUBLES),
    paragraphs=(
        (OPENING, HABIT, SEED),
        (PLANT, WAIT, FRIEND),
        (SPROUT, TROUBLE, REMEDY),
        (GROWN, ("{treat}",), END, LAST_LINE),
    ),
)

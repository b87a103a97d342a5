"""A young animal is in trouble; two children help it."""

from __future__ import annotations

from yxanul.text.sources.builtin.tales.common import HABIT, LAST_LINE, OPENING, PLACES
from yxanul.text.sources.builtin.tales.tale import Slot, Tale


def _animal(animal: str, sound: str, food: str, mother: str) -> dict[str, str]:
    return {
        "animal": animal,
        "a_animal": f"a {animal}",
        "sound": sound,
        "food": food,
        "mother": mother,
    }


ANIMALS: Slot = (
    _animal("kitten", "meow", "some milk", "a gray cat"),
    _animal("puppy", "woof", "a bone", "a big white dog"),
    _animal("duckling", "quack", "some corn", "a brown duck"),
    _animal("lamb", "baa", "fresh grass", "a white sheep"),
    _animal("chick", "peep", "some seeds", "a red hen"),
    _animal("piglet", "oink", "a potato", "a fat pink pig"),
    _animal("baby goat", "maa", "green leaves", "a goat with long horns"),
    _animal("baby bird", "tweet", "some bread", "a blue bird"),
    _animal("calf", "moo", "sweet hay", "a brown cow"),
    _animal("foal", "neigh", "an apple", "a black horse"),
)


def _trouble(trouble: str, help_it: str, better: str) -> dict[str, str]:
    return {"trouble": trouble, "help_it": help_it, "better": better}


TROUBLES: Slot = (
    _trouble(
        "It was stuck in a thorny bush.",
        "{hero} held the branches back, and {friend} slowly lifted the {animal} out.",
        "Now it was free, and it [shook itself|jumped around].",
    ),
    _trouble(
        "It had a thorn in its foot.",
        "{hero} held the {animal} still, and {friend} pulled the thorn out.",
        "Now it could [walk|stand] again.",
    ),
    _trouble(
        "It was wet and cold.",
        "{hero} took off {his} coat, and {friend} rubbed the {animal} dry with it.",
        "Soon it was warm and [closed its eyes|stopped shaking].",
    ),
    _trouble(
        "It had fallen into a hole.",
        "{hero} [climbed|reached] down, and {friend} held {him} by the legs until the {animal} "
        "was out.",
        "It was [dirty|wet], but it was safe.",
    ),
    _trouble(
        "It was caught in an old net.",
        "{hero} cut the net, and {friend} [talked to|held] the {animal} until it was calm.",
        "One more cut, and it was free.",
    ),
    _trouble(
        "It was weak because it had not eaten for days.",
        "{hero} [ran for|got] a bowl of water, and {friend} held up the head of the {animal}.",
        "After a few minutes, it could [stand|hold its head up] again.",
    ),
)

WALK = (
    "One [sunny|windy|cold] [morning|afternoon], {he} went {to_place} with {his} friend {friend}. "
    "{seen}",
    "One day, {hero} and {his} friend {friend} were {at_place}. {seen}",
    "On [Sunday|Saturday|Monday], {he} and {his} friend {friend} took a walk {to_place}. {seen}",
    "{His} best friend was {friend}. One [morning|day], they ran {to_place}. {seen}",
    "One [warm|cool] [day|evening], {hero} met {his} friend {friend} {at_place}. {seen}",
    "One day after [school|lunch], {he} and {his} friend {friend} played {at_place}. {seen}",
    '"Let us go {to_place}," said {his} friend {friend} one [sunny|cool|windy] [morning|day]. '
    "{seen}",
    "It was a [quiet|cool|sunny] day {at_place}. {hero} was there with {his} friend {friend}. "
    "{seen}",
)

HEAR = (
    'Then they heard a sound. "{Sound}, {sound}!" [It came from the left|It was very soft].',
    '"{Sound}!" said something near them. "Did you hear that?" {hero_asked}.',
    'Suddenly, {hero} stopped. "[Listen|Be quiet]!" {he_said}. "{Sound}, {sound}!"',
    '"{Sound}! {Sound}!" What was that? They looked [around|everywhere].',
    'All at once, a [small|tiny|sad] voice went, "{Sound}!"',
    'They were about to go home when they heard a "{sound}" [behind them|not far away].',
    'But what was that? "{Sound}, {sound}!" [It was a sad sound|It came again and again].',
    '{friend} put a hand on {hero}\'s arm. "[Wait|Stop]! I can hear something." "{Sound}!"',
)

SEE = (
    "It was {a_animal}. {trouble}",
    "There was {a_animal} [in the grass|on the ground]. {trouble}",
    "They went closer and saw {a_animal}. {trouble}",
    "{hero} [bent down|looked] and found {a_animal}. {trouble}",
    '"Look, {a_animal}!" {friend_said}. {trouble}',
    "Poor thing! It was {a_animal}. {trouble}",
    "[Behind a stone|Under a tree], {friend} found {a_animal}. {trouble}",
    "It was [only|nothing but] {a_animal}, and it was all alone. {trouble}",
)

PITY = (
    '"[Poor little thing|Oh no]!" {hero_said}. "[We have to help it|We can not leave it here]."',
    '"It is [afraid|scared]," [said|whispered] {friend}, and {hero} nodded.',
    '"Do not be afraid," {hero} said [softly|in a soft voice]. "[We will help you|We are '
    'friends]."',
    "The {animal} looked at them with big [sad|wet] eyes.",
    '"What can we do?" {friend_asked}. {hero} thought [quickly|for a moment].',
    "{hero} knew that they had to [be quick|be careful|do something].",
    '"[Where is its mother|How did this happen]?" {friend_asked}. "First we must help it," '
    "{hero_said}.",
    "{hero}'s heart [felt heavy|beat fast] when {he} looked at the {animal}.",
)

HELP = (
    "{help_it} {better}",
    "They worked together. {help_it} {better}",
    "It was not easy. {help_it} {better}",
    "They looked at each other and [nodded|began]. {help_it} {better}",
    "So they set to work. {help_it} {better}",
    '"[Careful now|Slowly, slowly]," {friend} whispered. {help_it} {better}',
    "They did not wait. {help_it} {better}",
)

FEED = (
    "{friend} found {food} for it, and it [ate it all|was very glad].",
    '"[It must be hungry|You need to eat]," {hero_said}, and gave it {food}.',
    "They gave the {animal} {food}, and it ate [quickly|every bit of it].",
    "Then {hero} brought {food}. The {animal} [liked that|was happy].",
    '"{Sound}!" said the {animal}. They gave it {food} and [stroked its back|sat beside it].',
    "{hero} ran home and came back with {food}. [How fast it ate|That was good]!",
    '"Here, little one," {friend_said}, and held out {food}. The {animal} [ate and ate|came '
    "closer and ate].",
)

MOTHER = (
    "Soon, {mother} came [closer|near]. It was the mother of the {animal}!",
    "But where was its mother? They looked around and saw {mother}. "
    '"[There she is|That must be her]!" {friend_said}.',
    'They waited until {mother} came. "[That is its mother|Now it can go home]," {hero_said}.',
    "Not far away stood {mother}. She had looked for her little one [all day|everywhere].",
    "Then they saw {mother}. When the {animal} saw her, it [jumped for joy|went to her side].",
    'Then something moved behind the trees. It was {mother}. "{Sound}!" cried the {animal}, and '
    "it went straight to her.",
    "And who came there? It was {mother}, and she was [looking for|calling] her little one.",
)

BYE = (
    "The mother looked at the children [for a long time|kindly], as if she wanted to say thank "
    "you.",
    '"[Goodbye, little friend|Take care]!" {hero_said}, and [waved|{friend} waved].',
    "{hero} was [sad|sorry] to see it go, but {he} was happy for it too.",
    'The {animal} turned around one more time and said, "{Sound}!"',
    '"[We did a good thing today|I am glad that we stopped]," {friend_said}.',
    '"Now they are together again," {hero_said}, and {his} heart felt [warm|light].',
    "Side by side, the {animal} and its mother [walked away|went home].",
)

END = (
    "After that, they often went back {to_place}, and the {animal} always knew them.",
    "{hero} learned that [even a small hand can help|kindness makes you happy].",
    "On the way home, {hero} and {friend} [sang|talked about the {animal}|held hands].",
    "That night, {hero} dreamed of the {animal}.",
    "From that day on, {hero} and {friend} [looked out for|took care of] every animal in need.",
    '"When I grow up, I want to [help animals|be an animal doctor]," {hero_said}.',
    "At home, {hero} told {his} family about the {animal}, and they were [proud of {him}|happy].",
    "It was a day that {hero} and {friend} never forgot.",
)

TALE = Tale(
    name="rescue",
    with_animals=False,
    slots=(
        tuple({**animal, "Sound": animal["sound"].capitalize()} for animal in ANIMALS),
        TROUBLES,
        PLACES,
    ),
    paragraphs=(
        (OPENING, HABIT, WALK),
        (HEAR, SEE),
        (PITY, HELP, FEED),
        (MOTHER, BYE),
        (END, LAST_LINE),
    ),
)

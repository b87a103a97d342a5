"""Something is broken; telling the truth is hard, and then it is a relief."""

from __future__ import annotations

from yxanul.text.sources.builtin.tales.cast import ELDERS
from yxanul.text.sources.builtin.tales.common import HABIT, LAST_LINE, OPENING
from yxanul.text.sources.builtin.tales.tale import Slot, Tale


def _thing(thing: str, special: str, mend: str) -> dict[str, str]:
    return {"thing": thing, "special": special, "mend": mend}


THINGS: Slot = (
    _thing("blue vase", "It always held fresh flowers.", "they glued the vase together"),
    _thing("white lamp", "It gave a warm light.", "they went out to buy a new lamp"),
    _thing("teapot", "It had pink roses on it.", "they glued the pot piece by piece"),
    _thing("wall clock", "It sang like a bird every hour.", "they took the clock to be mended"),
    _thing("big mirror", "It had a gold frame.", "they swept up the glass with care"),
    _thing("flower pot", "A red flower grew in it.", "they put the flower in a new pot"),
    _thing("cookie jar", "It looked like a fat bear.", "they made a new jar out of clay"),
    _thing("glass bowl", "It was full of red apples.", "they picked up every piece"),
    _thing("wooden ship", "It had three white sails.", "they glued the ship again"),
    _thing("green plate", "It had hung on the wall for years.", "they glued the plate again"),
)

CAUSES: Slot = (
    {"game": "playing ball", "crash": "the ball flew the wrong way and hit the {thing}"},
    {"game": "playing tag", "crash": "{hero} slipped and fell right into the {thing}"},
    {"game": "playing knights", "crash": "{hero} swung a long stick and hit the {thing}"},
    {"game": "dancing", "crash": "{hero} turned too fast and hit the {thing} with one arm"},
    {"game": "having a pillow fight", "crash": "a pillow flew across the room into the {thing}"},
    {"game": "playing circus", "crash": "{hero} jumped off a chair and landed on the {thing}"},
)

SPECIAL = (
    "In {his} house, there was a {thing}. It belonged to {his} {elder}. {special}",
    "{His} {elder} had a {thing} that {e_he} loved. {special}",
    "The {thing} in the house was very dear to {his} {elder}. {special}",
    '"Please be careful with my {thing}," {his} {elder} [often|always] said. {special}',
    "There was one thing that {his} {elder} loved most. It was a {thing}. {special}",
    "Everyone in the family [loved|liked] the {thing} that belonged to {his} {elder}. {special}",
    '"Do you see this {thing}?" {his} {elder} once asked {him}. "It means a lot to me." {special}',
    "{hero} knew the {thing} very well. {His} {elder} had had it for [years|a long time]. "
    "{special}",
)

PLAY = (
    "One [rainy|cold|windy] day, {hero} was {game} in the house with {friend_full}.",
    "One [afternoon|morning], {friend_full} came to visit. Soon, they were {game} in the house.",
    "One day, {hero} and {his} friend {friend_full} were {game} inside.",
    "It was raining [hard|outside], so {hero} and {his} friend {friend_full} were {game} in the "
    "house.",
    "One [Sunday|Saturday], {he} was {game} inside with {his} best friend, {friend_full}.",
    '"Let us go inside," said {his} friend {friend_full} one [cold|windy|rainy] day. Soon, they '
    "were {game}.",
    "One [evening|afternoon], {he} and {his} friend {friend_full} were {game} [in the "
    "house|inside].",
)

CRASH = (
    "Suddenly, {crash}. Crash! It broke.",
    "They laughed and [did not look|forgot to be careful]. Then {crash}. It broke [at once|in "
    "two].",
    "All at once, {crash}. There was a [loud|terrible] crash.",
    "They had so much fun. But then {crash}. Oh no, it was broken!",
    "It all went so fast. First, {crash}. Then it was quiet, and there were pieces everywhere.",
    "It was [a lot of|great] fun until {crash}. Crash!",
    '"[Not so wild|Be careful]!" called {friend}. But it was too late, because {crash}. It broke.',
)

SHOCK = (
    '"[What have we done|What now]?" [whispered|asked] {friend}.',
    "{hero} [went pale|stood still]. {friend} [put a hand over {f_his} mouth|did not say a word].",
    '"[Quick|Come on], let us hide it!" {hero_said}. But {friend} [shook {f_his} head|'
    "did not like that].",
    '"We could say that [the wind|a bird|the baby] did it," {hero_said}. "[No|That would be a '
    'lie]," {friend_said}.',
    "{hero} looked at the pieces, and {his} eyes filled with tears.",
    '"[It is broken|It is in pieces]!" cried {hero}. {friend} could not [say a word|move].',
    "They looked at each other. [Nobody laughed anymore|It was very quiet].",
)

GUILT = (
    "{hero} had a bad feeling in {his} belly. [It grew and grew|It did not go away].",
    "At dinner, {hero} could not eat. {He} [could only think of the {thing}|felt too bad].",
    "{hero} hid in {his} room. {He} felt [small|cold] and [sad|alone].",
    "{hero} wanted to [run away|hide under the bed], but that would not make it better.",
    '"[Maybe nobody will see it|I am so scared]," thought {hero}. But {his} heart felt heavy.',
    "{hero} could not [look up|think of anything else]. [What would happen now|What should {he} "
    "do]?",
    "{hero} put the pieces under the bed. But {he} could not stop thinking about them.",
    '"[If only it was yesterday|If only I had been careful]," thought {hero}, and {his} throat '
    "felt tight.",
)

COUNSEL = (
    '"[Tell the truth|You have to say it]," {friend_said}. "I will [come with you|stay with you]."',
    '"I was there too," {friend_said}. "[We will tell it together|We will say sorry together]."',
    '{friend} took {his} hand. "[The truth is the best way|You will feel better after that]," '
    "{f_he_said}.",
    '{friend} said, "[A lie only makes it worse|A lie grows and grows]." {hero} [nodded|knew that '
    "it was true].",
    '"What would you want if it was yours?" {friend_asked}. {hero} knew [the answer|what to do].',
    '"Being honest is hard, but [it is right|you can do it]," {friend_said}.',
    '"I know that you are scared," {friend_said}. "But [a lie is heavy|the truth is light]."',
)

TELL = (
    '{hero} went to {his} {elder}. "I [am sorry|have to tell you something]," {he_said}. '
    '"I broke your {thing}."',
    '{hero} took a deep breath. "I broke the {thing}. [It was me|It is my fault]," {he} told '
    "{his} {elder}.",
    'When {his} {elder} came home, {hero} ran to the door. "I broke your {thing}, and I am so '
    'sorry!" {he} [cried|said].',
    '"What happened to my {thing}?" {elder_asked}. "I did it," {hero_said}. '
    '"[Please do not be angry|I am very sorry]."',
    "{hero} stood in front of {his} {elder} and told {e_him} everything about the {thing}.",
    '"Can I talk to you?" {hero} asked {his} {elder}. {His} voice shook. "I broke the {thing}."',
    '{hero} took {his} {elder} by the hand and showed {e_him} the pieces of the {thing}. "[I did '
    'this|It was me]," {he_said}.',
)

FORGIVE = (
    'For a moment, it was quiet. Then {his} {elder} said, "[Thank you for telling me|'
    'I am glad that you told the truth]."',
    '{His} {elder} was [sad|not happy], but {e_he} [hugged|held] {him}. "[That was brave|'
    'A thing is only a thing]," {e_he_said}.',
    '{His} {elder} looked at {him} kindly. "[The truth is worth more to me|You are more '
    'important]," {e_he_said}.',
    '"[Are you hurt|Did you cut yourself]?" {elder_asked}. "No? That is what matters most. '
    'And you were honest."',
    '"I was sad for a moment," {elder_said}. "But I am proud of you, because you '
    '[did not lie|were honest]."',
    '"I have broken things too when I was little," {elder_said}, and [smiled|hugged {him}].',
    '{His} {elder} took a deep breath. "[I am not angry|It is all right]," {e_he_said}. "It was '
    'good of you to tell me."',
)

MEND = (
    "Then {mend}, all of them together.",
    "After that, {mend}. {friend} helped too.",
    "Together, {mend}, and {hero} [worked the hardest|felt much better].",
    "{hero} wanted to make it right. So {mend}.",
    "The next day, {mend}.",
    '"Come, let us [make it right|get to work]," {elder_said}. And so {mend}.',
    "On the same [day|evening], {mend}.",
)

END = (
    "{hero} felt as light as a feather.",
    "{hero} learned that [the truth is better than a lie|honest words make the heart light].",
    "From then on, {hero} and {friend} only played [wild games|like that] outside.",
    "That night, {hero} slept [well|like a baby].",
    "And {hero} never [told a lie|hid the truth] after that.",
    '"[Thank you for your help|You were right], {friend}," {hero} said.',
    '"Now I feel [so much better|as light as a feather]," {hero_said}, and {friend} smiled.',
    "Later, they all drank [tea|hot milk] and laughed together.",
)

TALE = Tale(
    name="truth",
    with_animals=True,
    slots=(THINGS, CAUSES, ELDERS),
    paragraphs=(
        (OPENING, HABIT, SPECIAL),
        (PLAY, CRASH, SHOCK),
        (GUILT, COUNSEL),
        (TELL, FORGIVE),
        (MEND, END, LAST_LINE),
    ),
)

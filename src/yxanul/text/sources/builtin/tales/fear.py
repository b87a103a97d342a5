"""Someone is afraid, takes one small step with help, and finds the courage."""

from __future__ import annotations

from yxanul.text.sources.builtin.tales.cast import ELDERS
from yxanul.text.sources.builtin.tales.common import HABIT, LAST_LINE, OPENING
from yxanul.text.sources.builtin.tales.tale import Slot, Tale


def _fear(fear: str, why: str, moment: str, step: str, after: str) -> dict[str, str]:
    return {"fear": fear, "why": why, "moment": moment, "step": step, "after": after}


FEARS: Slot = (
    _fear(
        "the dark",
        "At night, the shadows looked like [big|wild] animals.",
        "One [night|evening], all the lights in the house went out.",
        "They sat down by the window and looked at the stars.",
        "The dark was [soft|quiet] and full of stars.",
    ),
    _fear(
        "thunder",
        "The loud noise made {him} [hide under the blanket|jump].",
        "One [night|evening], a big storm came, and the sky went boom.",
        "They counted together from the flash to the boom.",
        "The storm was only a big, wet song.",
    ),
    _fear(
        "deep water",
        "{He} thought {he} would [go down like a stone|go under].",
        "One [hot|sunny] day, everyone went to swim in the lake.",
        "First only {his} toes went in, then {his} knees, and then {his} belly.",
        "The water [held {him} up|was cool and nice].",
    ),
    _fear(
        "big dogs",
        "They were so [fast|wild] and so loud.",
        "One [morning|afternoon], a big brown dog came into the yard.",
        "{He} held out {his} hand, and the dog smelled it with its wet nose.",
        "The dog [wagged its tail|lay down at {his} feet].",
    ),
    _fear(
        "the high slide",
        "It was as tall as a [house|tree].",
        "One [sunny|fine] day, all the children went down the slide.",
        "{He} climbed up one step, then two steps, and then all the steps.",
        "Down {he} went, [fast as the wind|and {he} shouted with joy].",
    ),
    _fear(
        "the old bridge",
        "It moved and made a [loud|terrible] noise with every step.",
        "One [day|morning], {he} had to cross it to [get home|visit a friend].",
        "{He} took one small step, and then one more.",
        "Soon {he} was on the other side, and the bridge was still there.",
    ),
    _fear(
        "singing for people",
        "In front of others, {his} voice always [went away|shook].",
        "One day, {he} was asked to sing at the school party.",
        "{He} looked at one friendly face and began to sing very softly.",
        "Then {his} voice grew strong, and everyone clapped.",
    ),
    _fear(
        "horses",
        "They were so [tall|big], and their feet were so loud.",
        "One [day|morning], a white horse stood at the fence.",
        "{He} put an apple on {his} hand and held it out.",
        "The horse ate it, and its nose was as soft as a pillow.",
    ),
    _fear(
        "the first day of school",
        "{He} did not know [anyone there|what to say].",
        "Then the day came, and {he} stood in front of the big school door.",
        "{He} said hello to one child, and the child said hello back.",
        "Before lunch, {he} had [three|two] new friends.",
    ),
    _fear(
        "the cellar",
        "It was cold down there, and something went tap, tap, tap.",
        "One [day|evening], {he} had to get some apples from the cellar.",
        "They took a lamp and went down [slowly|step by step].",
        "It was only water that dropped into an old pot.",
    ),
    _fear(
        "high trees",
        "When {he} looked down from a tree, {his} legs shook.",
        "One [sunny|warm] day, {his} kite got stuck in a tree.",
        "{He} put {his} foot on the first branch, and then on the next one.",
        "From up there, {he} could see the whole village.",
    ),
    _fear(
        "the doctor",
        "{He} thought it would [hurt a lot|be terrible].",
        "One [day|morning], {his} throat hurt, and {he} had to go there.",
        '{He} opened {his} mouth wide and said a long "ah".',
        "It did not hurt at all, and {he} got a [red|green] balloon.",
    ),
)

AFRAID = (
    "There was only one thing {he} did not like. {hero} was afraid of {fear}. {why}",
    "But {hero} had a secret. {He} was afraid of {fear}. {why}",
    "{hero} was brave, but not always. {He} was very afraid of {fear}. {why}",
    "There was one problem. {fear_cap} scared {him}. {why}",
    "{He} was not afraid of [bees|snails|the cold]. But {he} was afraid of {fear}. {why}",
    "Only one thing made {his} heart beat fast, and that was {fear}. {why}",
    "Ever since {he} was very small, {he} had been afraid of {fear}. {why}",
    "Do you know what scared {him} most? It was {fear}. {why}",
    "There was something that {hero} told nobody. {He} was afraid of {fear}. {why}",
)

FROZEN = (
    "{moment} {hero} [shook all over|turned pale|wanted to run away].",
    '{moment} "[Oh no|I can not do this]!" {he} [whispered|cried].',
    "{moment} {hero} [stood still like a stone|could not move].",
    "{moment} {His} knees [felt weak|shook], and {his} mouth was dry.",
    '{moment} "[I want to go home|Please, not that]!" thought {hero}.',
    "{moment} {hero} [held {his} breath|closed {his} eyes].",
    "{moment} {hero} [held on to the wall|looked for a place to hide].",
    "{moment} {His} heart went [boom, boom, boom|tap, tap, tap].",
)

TELL = (
    '"What is wrong?" asked {his} friend {friend}. "I am [scared|afraid]," {hero_said}.',
    '{His} friend {friend} was there and saw {his} face. "[Are you scared|Are you all right]?" '
    "{f_he} asked.",
    '{friend}, {his} best friend, took {his} hand. "[I am here|You are not alone]," {f_he_said}.',
    '"[Come|Come with me]!" said {his} friend {friend}. But {hero} shook {his} head.',
    '{His} friend {friend} did not laugh at {him}. "[I am scared sometimes too|Everyone is afraid '
    'of something]," {f_he_said}.',
    '{hero} told {his} friend {friend} the truth. "I am afraid," {he} [said|whispered].',
    '"You look pale," said {his} friend {friend}. "[What is it|What happened]?"',
    '{His} friend {friend} was [near|there]. "[Do not worry|Hold my hand]," {f_he_said}.',
)

ADVICE = (
    "{hero}'s {elder} [bent down|smiled]. \"[Being brave means to try even when you are scared|"
    'You only have to take one small step]," {e_he_said}.',
    "Then {hero}'s {elder} said, \"[Breathe in, breathe out|Go slowly]. [We are with you|"
    'You can do it]."',
    '"When I was little, I was afraid of it too," {hero_elder_said}. "[It gets better|'
    'It got easier every time]."',
    '{hero}\'s {elder} gave {him} a [hug|kiss]. "[Take your time|There is no hurry]," {e_he_said}.',
    '"Count to three with me," {hero_elder_said}. "One, two, three!"',
    '"[Fear gets small when you look at it|Courage starts small and grows]," {hero_elder_said}.',
    '"You do not have to do it all at once," {hero_elder_said}. "[A small step is good too|Start '
    'with one step]."',
    '{hero}\'s {elder} [nodded|smiled]. "[Only a brave {kind} says that|I know how that feels]," '
    "{e_he_said}.",
)

STEP = (
    "{hero} [nodded|took a deep breath]. {step}",
    '"[All right|I will try]," {hero_said}. {step}',
    "So {hero} [was brave and tried|gave it a try]. {step}",
    "{friend} [stayed close|went with {him}]. {step}",
    "{hero} [thought about it|waited a little]. Then {he} was ready. {step}",
    "{hero}'s heart beat fast, but {he} did not [run away|stop]. {step}",
    '"[I can do this|Now or never]," {hero} whispered. {step}',
    "{hero} held {friend}'s hand [very tight|for a moment]. {step}",
)

RESULT = (
    '{after} {hero} [laughed|smiled]. "[It is not so bad|I did it]!" {he_said}.',
    "And what a surprise! {after}",
    "{after} {hero} could hardly believe it.",
    "Then something wonderful happened. {after}",
    '{after} "[You were so brave|I knew you could do it]," {friend_said}.',
    "Little by little, {hero} felt better. {after}",
    "And then? {after} [That was all|It was not bad at all].",
    '{after} "[Did you see that|Is that all]?" {hero} [shouted|cried].',
)

END = (
    "From that day on, {hero} was not so afraid of {fear} anymore.",
    "{hero} learned that [it is all right to be scared|a friend makes fear small|"
    "being brave starts with one step].",
    "That night, {hero} told everyone [how brave {he} had been|the whole story].",
    "{hero} was proud of {himself}, and {friend} was proud of {him} too.",
    "Now, when someone is afraid, {hero} [takes their hand|tells them this story].",
    '"Can we do it again [tomorrow|soon]?" {hero} asked, and everyone laughed.',
    '"Next time, I will help you," {hero_said} to {friend}.',
    "{hero} [slept well|was happy] that night, for {he} knew that {he} was brave.",
)

TALE = Tale(
    name="fear",
    with_animals=False,
    slots=(tuple({**fear, "fear_cap": fear["fear"].capitalize()} for fear in FEARS), ELDERS),
    paragraphs=(
        (OPENING, HABIT, AFRAID),
        (FROZEN, TELL),
        (ADVICE, STEP),
        (RESULT, END, LAST_LINE),
    ),
)

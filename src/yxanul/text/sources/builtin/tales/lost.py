"""A favorite thing is lost; a friend helps to look for it."""

from __future__ import annotations

from yxanul.text.sources.builtin.tales.cast import ELDERS
from yxanul.text.sources.builtin.tales.common import HABIT, LAST_LINE, OPENING
from yxanul.text.sources.builtin.tales.tale import Slot, Tale


def _thing(thing: str, use: str) -> dict[str, str]:
    return {"thing": thing, "a_thing": f"a {thing}", "use": use}


THINGS: Slot = (
    _thing("teddy bear", "{He} [held it tight every night|took it to bed every night]."),
    _thing("red ball", "{He} [threw it|kicked it|rolled it] around [all day|every afternoon]."),
    _thing("toy car", "{He} pushed it over the [floor|table] every day."),
    _thing("cloth doll", "{He} [told it secrets|gave it tea|put it to bed] every evening."),
    _thing("blue hat", "{He} wore it [every day|everywhere], even [in summer|at breakfast]."),
    _thing("picture book", "{He} [read it|looked at it] every night before bed."),
    _thing("music box", "{He} listened to its [soft|sweet] song every [night|evening]."),
    _thing("silver whistle", "{He} blew it [loudly|softly] every [morning|day]."),
    _thing("wooden horse", "{He} [rode it around the room|gave it grass to eat] every day."),
    _thing("toy boat", "{He} let it sail on the pond every [day|evening]."),
    _thing("yellow scarf", "It kept {him} warm, and {he} [wore it everywhere|loved its color]."),
    _thing("sock puppet", "{He} made it [talk|sing|dance] [every day|for everyone]."),
    _thing("paint brush", "{He} painted [birds|flowers|houses|trees] with it every day."),
    _thing("rag bunny", "{He} [hugged it|talked to it] every [night|morning]."),
)

SPOTS: Slot = (
    {"spot": "under the bed", "how": "It had [slipped down|fallen down] in the night."},
    {"spot": "behind the couch", "how": "It had [fallen down|dropped] during story time."},
    {
        "spot": "in the laundry basket",
        "how": "It had gone in with the [dirty|old] clothes.",
    },
    {"spot": "under the apple tree", "how": "It had been there since the party."},
    {
        "spot": "behind the long curtain",
        "how": "It had been there since [the last game|the party].",
    },
    {"spot": "in the kitchen drawer", "how": "{His} baby brother had put it there."},
    {
        "spot": "under a pile of leaves",
        "how": "The wind had pushed the leaves [right over|on top of] it.",
    },
    {
        "spot": "by the garden gate",
        "how": "{hero} had put it down to [open the gate|look at a bird].",
    },
    {"spot": "in the toy wagon", "how": "{His} little sister had [put|left] it there."},
    {
        "spot": "on the back seat of the car",
        "how": "It had been there since the ride to the [farm|lake].",
    },
)

LOVE = (
    "{His} favorite thing in the [whole|wide] world was {a_thing}. {use}",
    "{He} had {a_thing} that {he} loved very much. {use}",
    "Of all {his} things, {hero} loved {his} {thing} the most. {use}",
    "On {his} birthday, {hero} got {a_thing}. {use}",
    "{hero} had {a_thing}. It was [old|small|not new], but {he} loved it. {use}",
    "{hero} had {a_thing}, and it was very special to {him}. {use}",
    "Nothing made {hero} [happier|smile more] than {his} {thing}. {use}",
    "For years, {hero} had had {a_thing}, and {he} would not give it away for [anything|a bag of "
    "gold]. {use}",
    "There was {a_thing} in {his} room. It was {hero}'s best friend [at home|when nobody else was "
    "there]. {use}",
)

LOSS = (
    "[One morning|One day|One afternoon], {hero} wanted {his} {thing}, but it was gone.",
    "But one [morning|day|evening], the {thing} was not in its place.",
    "Then, one [rainy|cold|gray] [morning|day], {he} could not find it anywhere.",
    "One [morning|day], {hero} woke up and saw that the {thing} was [gone|not there].",
    "One day, something [bad|sad] happened. The {thing} was [gone|lost].",
    "One [afternoon|evening], {hero} came home and looked for {his} {thing}. It was not there.",
    "But [one day|one morning|last week], {hero} lost it.",
    "It was a [cold|gray|quiet] [evening|morning] when {hero} saw it. There was no {thing} "
    "anywhere.",
    "[After lunch|After school], {hero} ran to get {his} {thing}. But where was it?",
)

CRY = (
    '"Oh no! Where is my {thing}?" {he} [cried|called].',
    '"My {thing} is [gone|lost]!" {hero_said}, and [a tear ran down {his} cheek|'
    "{his} eyes filled with tears].",
    '{hero} felt very sad. "I have to find my {thing}," {he} [said|whispered].',
    '{He} felt a lump in {his} throat. "[Where can it be|Where did it go]?" {he} [asked|said].',
    '"I had it yesterday!" {he} [cried|said]. {His} heart [beat fast|felt heavy].',
    "{hero} [sat down and cried|did not want to eat|could not think of anything else].",
    '"[Please, please|Oh], come back, little {thing}," {he_said}.',
    "A [day|night] without the {thing}? {hero} could not think of it.",
    '"Who has seen my {thing}?" {hero_asked}. But nobody [had seen it|knew].',
)

SEARCH = (
    "{He} looked [in the closet|on the shelf|in the toy box] and [on the stairs|"
    "under the pillow], but [it was not there|{he} found nothing].",
    "{He} searched the [whole room|whole house]. "
    "{He} found [an old sock|a lost button|two coins], but no {thing}.",
    "First, {he} looked [in the toy box|on the shelf]. Then, {he} looked "
    "[under the pillow|behind the door|in the closet]. Nothing!",
    "{He} looked up and down, [left and right|here and there], but {he} could not see it.",
    "Was it [in the closet|on the stairs]? No. Was it [on the shelf|behind the door]? "
    "No, it was not there [either|at all].",
    "{He} turned over every [pillow|blanket|box]. The {thing} [did not show up|stayed lost].",
    "{He} [looked and looked|searched high and low], but there was no {thing}, not [here|in the "
    "closet] and not [there|on the shelf].",
    "{He} even looked [in the soup pot|behind the big clock|under {his} hat]. The {thing} was not "
    "there.",
    "{He} [opened every box|looked into every corner] and [called its name|looked twice], but it "
    "was no good.",
)

FRIEND_COMES = (
    "Just then, {friend_full} came [by|over|to the door].",
    "Soon, {his} friend {friend_full} came [by|to play].",
    "{His} friend {friend_full} [lived next door and|came by and] heard {him}.",
    "After a while, there was a knock at the door. It was {friend_full}.",
    "In the [garden|yard], {he} met {his} friend {friend_full}.",
    "Then {friend_full} came in with [a big smile|an apple|a cookie for {him}].",
    "There was someone who could help. It was {his} friend {friend_full}.",
    "{His} best friend, {friend_full}, [saw {him} from the road|heard {him} cry|came to the "
    "window].",
)

OFFER = (
    '"[Why are you sad|What is wrong]?" {friend} asked. "I lost my {thing}," {hero_said}. '
    '"[Do not worry|Do not cry]. I will help you [look|find it]," {friend_said}.',
    '"You look sad," {friend_said}. "[What happened|Can I help]?" {hero} told {f_him} '
    "everything, and {friend} [took {his} hand|wanted to help].",
    '"Please help me find my {thing}," {hero_said}. "Of course! '
    '[Four eyes are better than two|Friends help each other|We will find it]," {friend_said}.',
    'When {hero} told {f_him} about the {thing}, {friend} said, "[Let us look together|'
    'Come on, we will look again]."',
    '"Do you want to play?" {friend_asked}. "I can not play. My {thing} is lost," {hero_said}. '
    '"Then we will [look for it|find it] first," {friend_said}.',
    '{friend} gave {him} a hug. "[We will not stop until we find it|I know it is '
    'somewhere near]," {f_he_said}.',
    '"[It is gone|I can not find my {thing}]!" {hero} told {friend}. "Then let us [think|start] '
    'at the beginning," {friend_said}.',
    '"I know how you feel," {friend_said}. "I lost my [ball|hat|best book] once, and it came '
    'back. [Come|Let us go]!"',
)

HINT = (
    '{hero}\'s {elder} heard them. "When did you last [have|see] it?" {e_he_asked}. '
    "{hero} thought [hard|for a while].",
    '"Try to remember where you were yesterday," {hero_elder_said}.',
    "{hero}'s {elder} came to help too, and they [looked|searched] everywhere again.",
    '"[Lost things like to hide|Look slowly, not fast]," {hero_elder_said} with a smile.',
    "They asked {hero}'s {elder}, but {e_he} had not seen it. \"[Look where you played|"
    'Do not give up]," {e_he_said}.',
    "{hero}'s {elder} made them some [tea|hot milk]. \"Now think. Where did you go "
    '[last|yesterday]?" {e_he_asked}.',
    '"Things do not have legs," {hero_elder_said}. "[It must be here|It can not be far away]."',
    'Then {hero}\'s {elder} had an idea. "[Close your eyes|Sit down] and think of yesterday," '
    "{e_he_said}.",
)

FOUND = (
    'Then {friend} looked {spot}. "[Here it is|I found it|Look]!" {f_he} '
    "[shouted|called|cried]. {how}",
    "At last, {hero} looked {spot}, and there it was! {how}",
    'Suddenly, {hero} had an idea. {He} looked {spot}. "[There you are|I found you]!" '
    "{he} [cried|laughed]. {how}",
    "They looked {spot}, and what did they see? The {thing}! {how}",
    '"What is that {spot}?" {friend_asked}. It was the {thing}! {how}',
    'In the end, they found the {thing} {spot}. "[So this is where it was|How funny]!" '
    "{hero_said}. {how}",
    "They almost wanted to give up when {hero} looked {spot}. There was the {thing}! {how}",
    '"Have we looked {spot}?" {friend_asked}. They had not. And there it was! {how}',
)

JOY = (
    "{hero} [hugged|thanked] {friend} and [jumped for joy|laughed|danced around the room].",
    '"Thank you, {friend}! You are [the best|a true friend|so good to me]," {hero_said}.',
    "{hero} [held it close|smiled from ear to ear]. {friend} [smiled too|was happy too].",
    '"Thank you for your help," {hero_said}. "[I was glad to help|That is what friends are '
    'for]," {friend_said}.',
    "{hero} was so happy that {he} [kissed it|did a little dance|shouted with joy].",
    "The two friends [laughed|clapped] and [played until dinner|shared some cookies].",
    "{hero} [danced|jumped] around {friend} and [sang|laughed] until {he} was [tired|out of "
    "breath].",
    '"[Hello, old friend|Never go away again]!" {hero_said} to the {thing}, and {friend} laughed.',
)

END = (
    "From that day on, {hero} always [put the {thing} back in its place|took good care of it].",
    "That night, {hero} [slept well|went to sleep with a smile], and the {thing} was "
    "[right beside {him}|on the chair next to {him}].",
    "{hero} learned that [a good friend helps you when you are sad|"
    "you should not give up too soon|looking is easier with two].",
    "After that, {hero} kept the {thing} [in a special box|on {his} shelf] every night.",
    "And when {friend} lost something, {hero} was the first to help.",
    "[Now|From then on], {hero} [was careful with|watched over] {his} things.",
    "That evening, {hero} told {his} family how {friend} had helped {him}.",
    "And the {thing}? It never [got lost|went away] again.",
)

TALE = Tale(
    name="lost",
    with_animals=True,
    slots=(THINGS, SPOTS, ELDERS),
    paragraphs=(
        (OPENING, HABIT, LOVE),
        (LOSS, CRY, SEARCH),
        (FRIEND_COMES, OFFER),
        (HINT, FOUND),
        (JOY, END, LAST_LINE),
    ),
)

"""A skill is learned: it goes wrong, someone gives a tip, practice does the rest."""

from __future__ import annotations

from yxanul.text.sources.builtin.tales.cast import ELDERS
from yxanul.text.sources.builtin.tales.common import HABIT, LAST_LINE, OPENING
from yxanul.text.sources.builtin.tales.tale import Slot, Tale


def _skill(skill: str, fail: str, tip: str, success: str) -> dict[str, str]:
    return {"skill": skill, "fail": fail, "tip": tip, "success": success}


SKILLS: Slot = (
    _skill(
        "ride a bike",
        "The bike [tipped over|went left and right], and {he} fell into the grass.",
        "Look at the road and not at your feet",
        "{He} rode [all the way to the gate|around the yard] without falling.",
    ),
    _skill(
        "swim",
        "{He} [went under|got water in {his} nose] and had to cough.",
        "Kick with your legs like a frog",
        "{He} swam [across the lake|from one side to the other].",
    ),
    _skill(
        "whistle",
        "Only air came out of {his} mouth.",
        "Make your mouth small and round",
        "A bright sound came out, just like a bird.",
    ),
    _skill(
        "skate",
        "{His} feet went in two different ways, and bump, {he} sat on the ice.",
        "Bend your knees a little",
        "{He} flew over the ice [like a bird|in a big circle].",
    ),
    _skill(
        "tie a bow",
        "The bow fell open at once.",
        "Make two rabbit ears and cross them",
        "The bow stayed [tight|closed], and it looked pretty.",
    ),
    _skill(
        "catch a ball",
        "The ball hit {his} [nose|head] and rolled away.",
        "Keep your eyes on the ball",
        "{He} caught the ball [with both hands|ten times in a row].",
    ),
    _skill(
        "play the flute",
        "The flute made a sound like an angry cat.",
        "Blow softly, as if you cool your soup",
        "A [sweet|lovely] little song filled the room.",
    ),
    _skill(
        "bake bread",
        "The bread was black on the outside and wet on the inside.",
        "Give it time and keep it warm",
        "The bread was [golden|warm and soft], and the whole house smelled good.",
    ),
    _skill(
        "draw a horse",
        "It looked more like a [table|fat dog] with a tail.",
        "First draw a circle, and then the legs",
        "The horse looked as if it could run off the paper.",
    ),
    _skill(
        "juggle",
        "All three apples [fell on the floor|rolled under the table].",
        "Start with only one apple",
        "Round and round went the apples, and not one fell.",
    ),
    _skill(
        "stand on one leg",
        "{He} [tipped over|fell] again and again.",
        "Look at one point on the wall",
        "{He} stood there like a tree and counted to a hundred.",
    ),
    _skill(
        "jump rope",
        "{His} feet [got caught in|hit] the rope every time.",
        "Listen to the rope and jump when it hits the ground",
        "{He} jumped a hundred times without a stop.",
    ),
    _skill(
        "write letters",
        "The letters [fell over each other|stood upside down].",
        "Make one letter at a time",
        "There they stood on the paper, big and round, all in a row.",
    ),
    _skill(
        "do a handstand",
        "{He} fell [on {his} back|over] with a bump.",
        "Put your hands flat and push",
        "{His} feet were up in the air, and {he} laughed upside down.",
    ),
)

WISH = (
    "{He} wanted to learn to {skill}.",
    "{His} biggest wish was to learn how to {skill}.",
    "There was one thing {he} could not do yet. {He} could not {skill}.",
    "All {his} friends could {skill}, but {hero} could not.",
    'One day, {he} saw [a girl|a boy|someone] {skill}. "I want to do that too," {he_said}.',
    '"I want to learn to {skill}," {he} [said|told everyone] one [morning|day].',
    '"When will I be able to {skill}?" {he} often asked. Now the time had come.',
    "Day and night, {he} had only one thing in {his} head. {He} wanted to {skill}.",
)

FIRST_TRY = (
    "So {hero} tried. {fail}",
    "The first time, it went wrong. {fail}",
    "{He} [tried and tried|tried again and again]. {fail}",
    "It looked so easy, but it was not. {fail}",
    "{He} [took a deep breath|counted to three] and began. {fail}",
    "On the first day, it was hard. {fail}",
    '"How hard can it be?" {he} thought. It was very hard. {fail}',
    "Nobody was looking, so {he} tried it. {fail}",
)

UPSET = (
    '"[I will never learn it|This is too hard|I give up]!" {he} [cried|said].',
    "{He} [kicked a stone|threw {himself} on the ground] and was angry.",
    '{hero} felt [sad|silly]. "[Why can I not do it|What is wrong with me]?" {he_asked}.',
    "{He} wanted to [stop|give up|go home].",
    "A tear ran down {his} cheek. {He} [turned away|hid {his} face].",
    "{hero} was [tired|upset] and did not want to go on.",
    '"I do not want to try anymore," {he_said} [softly|in a sad voice].',
    "{hero} sat down and [looked at the ground|did not say a word].",
)

ELDER_SAYS = (
    '"[Nobody can do it on the first day|It took me a whole year]," {elder_said}.',
    '{His} {elder} [sat down beside|hugged] {him}. "[Every day a little bit|You only lose when '
    'you stop]," {e_he_said}.',
    '{His} {elder} had watched {him}. "[You were better than yesterday|I like how hard you try]," '
    "{e_he_said}.",
    '"Do you know how often I fell when I was [small|little]?" {elder_asked}. '
    '"[A hundred times|Every day]!"',
    "{His} {elder} gave {him} [a cup of milk|an apple|a cookie]. "
    '"[Rest a little|Eat first], and then go on," {e_he_said}.',
    '"[Good things take time|Slow and steady]," {elder_said}, and [smiled|patted {his} back].',
    '"Come here," {elder_said}. "[I could not do it at first|Even I had to learn it], and look at '
    'me now."',
    '{His} {elder} [laughed|smiled] kindly. "[Again|One more time]," {e_he_said}. "You will see, '
    'it gets better."',
)

TIP = (
    'Then {his} friend {friend_full} came along. "I know a trick," {f_he_said}. "{tip}."',
    'The next day, {hero} asked {his} friend {friend_full}. "{tip}," {friend_said}.',
    '{His} friend {friend_full} had learned it last [summer|winter]. "{tip}," {f_he} told {him}.',
    '"May I show you?" asked {his} friend {friend_full}. "{tip}. [That is all|You will see]."',
    '{His} friend {friend_full} [watched|looked at] {him} for a while. "{tip}," {f_he_said}.',
    '{His} best friend was {friend_full}. "Try it like this," {friend_said}. "{tip}."',
    '{hero} was lucky, because {his} friend {friend_full} could do it well. "{tip}," '
    "{friend_said}.",
    '{His} friend {friend_full} came over with a big smile. "The secret is easy," {f_he_said}. '
    '"{tip}."',
)

PRACTICE = (
    "{hero} did [just that|what {friend} said]. {He} practiced [every day|for a week].",
    "They practiced [before and after lunch|all week], and each day it went a little better.",
    "{hero} practiced on Monday, on Tuesday and on Wednesday.",
    "{hero} tried it [slowly|with care]. It was [still not good|a bit better]. {He} tried again.",
    '{hero} tried it. "Again!" {friend_said}. "[One more time|And again]!" And {hero} did it '
    "again.",
    "Day after day, {hero} practiced, and {friend} [cheered|helped].",
    "Morning and evening, in sun and in rain, {hero} practiced.",
    "{hero} thought of the tip and tried it [once more|again], and then [ten times more|again and "
    "again].",
)

SUCCESS = (
    "And then, one [fine|sunny] [morning|day], it worked! {success}",
    "[At last|Finally], {hero} got it. {success}",
    'Then it happened. {success} "[I can do it|Look at me]!" {he} [shouted|cried].',
    "After [a week|many days], something was different. {success}",
    "{success} {hero} could [hardly|not] believe it.",
    "[This time|Now], {hero} was ready. {success}",
    "Nobody could believe it at first. {success}",
    "And one day, without thinking, {hero} just did it. {success}",
)

CHEER = (
    "{friend} clapped and [jumped up and down|shouted for joy].",
    '"[You did it|I knew it]!" {friend_said}. "[Thank you|That was your tip]," {hero_said}.',
    "{His} {elder} was so proud that {e_he} [hugged {him} tightly|danced with {him}].",
    "Everyone came to see it, and they all [clapped|cheered].",
    "{hero} and {friend} [laughed and hugged|danced around in a circle].",
    '"[Hooray|Well done]!" cried {friend}, and {hero} [turned red with joy|laughed out loud].',
    '{hero} ran to {his} {elder} at once. "Did you see it?" {he_asked}, and {his} {elder} '
    "[hugged|kissed] {him}.",
)

END = (
    "{hero} learned that [you have to try many times|practice makes it easy|"
    "nobody can do it at once].",
    "Now {hero} helps others to learn it, and {he} is very patient.",
    "That evening, {hero} went to bed [tired and happy|with a big smile].",
    '"What do you want to learn next?" {friend_asked}. {hero} already had an idea.',
    "From that day on, {hero} did it every day, just for fun.",
    "And whenever something was hard, {hero} thought of that day.",
    '"It was hard, but it was worth it," {hero_said} that evening.',
    "And the next one to learn it from {hero} was [the girl|the boy] next door.",
)

TALE = Tale(
    name="learn",
    with_animals=True,
    slots=(SKILLS, ELDERS),
    paragraphs=(
        (OPENING, HABIT, WISH),
        (FIRST_TRY, UPSET, ELDER_SAYS),
        (TIP, PRACTICE),
        (SUCCESS, CHEER, END, LAST_LINE),
    ),
)

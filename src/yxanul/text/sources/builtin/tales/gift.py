"""A birthday gift is prepared; something goes wrong, and it turns out well."""

from __future__ import annotations

from yxanul.text.sources.builtin.tales.cast import ELDERS
from yxanul.text.sources.builtin.tales.common import HABIT, LAST_LINE, OPENING
from yxanul.text.sources.builtin.tales.tale import Slot, Tale


def _gift(gift: str, make: str, trouble: str, rescue: str, joy: str) -> dict[str, str]:
    return {"gift": gift, "make": make, "trouble": trouble, "rescue": rescue, "joy": joy}


GIFTS: Slot = (
    _gift(
        "a card",
        "{He} folded the paper and painted a [heart|sun] on it.",
        "Then {he} knocked over the water, and the paint ran everywhere.",
        "We can turn the spots into [flowers|balloons]",
        "This is the most colorful card I have ever seen",
    ),
    _gift(
        "a necklace",
        "{He} put red and blue beads on a string.",
        "Then the string tore, and the beads rolled all over the floor.",
        "I will hold the lamp, and we will find every bead",
        "I will wear it every single day",
    ),
    _gift(
        "a song",
        "{He} sang it again and again, high and low.",
        "But on the day before, {his} voice was gone.",
        "I will sing, and you can play the drum",
        "Nobody ever made a song for me before",
    ),
    _gift(
        "a chocolate cake",
        "{He} mixed the flour, the eggs and the chocolate.",
        "Then the cake fell on the floor and broke into pieces.",
        "We can put the clean pieces in a bowl with milk and strawberries",
        "This tastes better than any cake",
    ),
    _gift(
        "a bunch of flowers",
        "{He} picked yellow and white flowers near the road.",
        "But a hungry goat came and ate them all.",
        "We can make flowers out of paper",
        "These flowers will never dry up",
    ),
    _gift(
        "a warm scarf",
        "{He} knitted row after row of soft red wool.",
        "But then the wool was used up, and the scarf was still too short.",
        "I have some green wool for the other half",
        "Red and green are my two favorite colors",
    ),
    _gift(
        "a clay cup",
        "{He} rolled the clay and made a round cup.",
        "Then the handle broke off.",
        "We can use it as a pot for a little flower",
        "A cup that grows flowers is just what I needed",
    ),
    _gift(
        "a poem",
        "{He} wrote six lines on a clean sheet of paper.",
        "Then the wind took the paper out of the window.",
        "Say it to me, and I will help you learn it by heart",
        "Those words will stay in my heart",
    ),
    _gift(
        "a picture",
        "{He} painted the whole family in front of the house.",
        "But there was no room left for the baby.",
        "You can paint the baby up on a cloud, like a little star",
        "I love it, and the baby on the cloud is the best part",
    ),
    _gift(
        "a wooden box",
        "{He} cut the boards and put in the nails.",
        "But the lid was too small.",
        "We can make a lid out of cloth",
        "I will keep my best letters in it",
    ),
    _gift(
        "a soft pillow",
        "{He} sewed two pieces of blue cloth together.",
        "Then it tore on one side, and feathers flew everywhere.",
        "I will catch the feathers, and you can sew it again",
        "I will have sweet dreams on it",
    ),
    _gift(
        "a puppet show",
        "{He} made a king, a queen and a dragon.",
        "But {he} had only two hands for three puppets.",
        "I will be the dragon, and you can be the king and the queen",
        "I have not laughed so much in years",
    ),
)

BIRTHDAY = (
    "Soon it would be the birthday of {his} {elder}. {hero} wanted to make {gift}.",
    '"What can I give my {elder}?" {he_asked} {himself}. The birthday was near. '
    '"I know, I will make {gift}!"',
    "The birthday of {his} {elder} was only [two|three] days away. {hero} had no money, "
    "so {he} wanted to make {gift}.",
    "{hero} loved {his} {elder} very much. For {e_his} birthday, {he} wanted to make {gift}.",
    '"It is a secret," {hero_said}. For the birthday of {his} {elder}, {he} was going to make '
    "{gift}.",
    "One [morning|evening], {hero} looked at the calendar. The birthday of {his} {elder} was near! "
    "{He} wanted to make {gift}.",
    '"Next week is the birthday of my {elder}," {he} told {his} [baby sister|baby brother]. "I '
    'will make {gift}."',
    "There were only a few days until the birthday of {his} {elder}. {hero} thought [long and "
    "hard|for a while]. Yes, {he} would make {gift}!",
)

WORK = (
    "{make} It was [a lot of work|not easy], but {he} liked it.",
    "So {he} began. {make}",
    "{make} {He} worked [behind a closed door|late into the evening].",
    "{He} got everything ready. {make}",
    '{make} "[This is going well|It will be lovely]," {he} thought.',
    "First, {he} closed the door, so that nobody could see. {make}",
    "{make} {His} face was red, and {his} heart was [light|full of joy].",
)

TROUBLE = (
    '{trouble} "[Oh no|Help]!" cried {hero}.',
    "{trouble} {hero} [wanted to cry|sat down and cried].",
    "{trouble} All that work was for nothing!",
    "{trouble} {hero} did not know [what to do|how to go on].",
    '{trouble} "[Now I have nothing|It is too late now]," {hero_said}.',
    "{trouble} {hero} put {his} head in {his} hands.",
    '{trouble} "[Why now|How could this happen]?" {hero_asked}.',
)

FRIEND = (
    "{He} ran to {his} friend {friend_full} and told {f_him} [everything|about it].",
    'Just then, {his} friend {friend_full} [looked in|came by]. "[What is wrong|Why do you look '
    'so sad]?" {friend_asked}, and {hero} told {f_him} everything.',
    '{friend_full} lived next door. "[Please help me|I need your help]!" {hero_said}.',
    "There was a knock. {His} friend {friend_full} stood at the door and saw {his} face.",
    "{His} best friend, {friend_full}, [heard {him}|came at once].",
    "Who could help? {hero} thought of {his} friend {friend_full} and [ran next door|called "
    "{f_him}].",
    '"May I come in?" asked {his} friend {friend_full}. Then {f_he} saw {hero}\'s [wet eyes|sad '
    "face].",
)

RESCUE = (
    '{friend} thought [hard|for a while]. "{rescue}," {f_he_said}.',
    '"[Do not cry|That is not so bad]," {friend_said}. "{rescue}."',
    '"I have an idea," {friend_said}. "{rescue}!"',
    '"Wait," {friend_said}. "{rescue}." {hero} [smiled again|dried {his} tears].',
    '{friend} [put an arm around|smiled at] {him}. "{rescue}," {friend_said}.',
    '"There is always a way," {friend_said}. "{rescue}."',
    '{friend} walked [up and down|around the room]. Then {f_he} stopped. "{rescue}!" {f_he_said}.',
)

TOGETHER = (
    "So they worked together until it was [done|dark].",
    "They [laughed|talked] and worked, and it was fun.",
    '"[That is great|What a good idea]!" {hero_said}, and they [began|went to work] at once.',
    "[In the end|An hour later], they had done it, and {hero} was [happy|glad].",
    "It was even better than before.",
    "It took a long time, but the two friends did not stop.",
    '"You are so clever," {hero_said}, and they [started|began] at once.',
    "They had just [one day|a few hours] left, but it was not too late.",
)

PARTY = (
    "Then the big day came. {hero} [stood there with red cheeks|could hardly wait]. "
    '"Happy birthday!" {he_said}.',
    "On the birthday, there were candles and [music|balloons]. Then it was {hero}'s turn.",
    "The birthday came. {hero}'s heart [beat fast|went boom, boom]. "
    '"This is from me and {friend}," {he_said}.',
    "At the party, {hero} waited [until the end|for the right moment]. "
    '"This is for you," {he_said}.',
    'All the family sat around the table. "[Close your eyes|Now it is my turn]!" {hero_said}.',
    'At last, it was the day of the birthday. {friend} came too. "We have something for you," '
    "{hero_said}.",
)

JOY = (
    '{hero}\'s {elder} [was very still|had tears in {e_his} eyes]. "{joy}," {e_he_said}.',
    '"{joy}!" {hero_elder_said}, and [hugged|kissed] {him}.',
    '{hero}\'s {elder} [laughed|smiled] with joy. "{joy}," {e_he_said}.',
    '"For me?" {hero_elder_asked}. "{joy}. Thank you!"',
    '{hero}\'s {elder} took {him} by the hand. "{joy}," {e_he_said} [softly|with a big smile].',
    '"Oh!" {hero_elder_said}. "{joy}!"',
)

END = (
    "{hero} and {friend} looked at each other and smiled.",
    "{hero} learned that [the best gifts come from the heart|a mistake can turn into something "
    "good].",
    "It was the best birthday of all.",
    "Then everyone [danced|sang|ate] until late at night.",
    'Later, {hero} took {friend} aside. "Thank you," {he} whispered. "[You are a true friend|'
    'You saved the day]."',
    "And {hero} was the happiest of all.",
    "{friend} got the first piece of birthday cake.",
    '"Next year, we will do it together again," {friend_said}.',
)

TALE = Tale(
    name="gift",
    with_animals=True,
    slots=(GIFTS, ELDERS),
    paragraphs=(
        (OPENING, HABIT, BIRTHDAY),
        (WORK, TROUBLE),
        (FRIEND, RESCUE, TOGETHER),
        (PARTY, JOY, END, LAST_LINE),
    ),
)

"""Two friends want the same thing, quarrel, and find a way to share it."""

from __future__ import annotations

from yxanul.text.sources.builtin.tales.common import HABIT, LAST_LINE, OPENING, PLACES
from yxanul.text.sources.builtin.tales.tale import Slot, Tale


def _thing(thing: str, mine: str, yours: str, shared: str) -> dict[str, str]:
    return {"thing": thing, "a_thing": f"a {thing}", "mine": mine, "yours": yours, "shared": shared}


THINGS: Slot = (
    _thing("ball", "throw it high", "kick it far", "They threw it back and forth."),
    _thing("red wagon", "ride in it", "pull it around", "One pulled, and the other one rode."),
    _thing("jump rope", "jump with it", "swing it", "They held one end each and took turns."),
    _thing("shiny drum", "beat it slowly", "beat it fast", "One played, and the other one sang."),
    _thing("blue kite", "run with it", "hold the string", "One ran, and the other one held it."),
    _thing("whistle", "blow it loudly", "blow it softly", "They blew it one after the other."),
    _thing("green bike", "ride it fast", "ring its bell", "They each rode three times around."),
    _thing("toy truck", "put stones in it", "make it go fast", "They pushed it back and forth."),
    _thing("story book", "look at the pictures", "read it", "They sat close and read it aloud."),
    _thing("big shovel", "dig a deep hole", "build a castle", "They dug one side each."),
    _thing("balloon", "let it dance", "hold it tight", "They tied it between them and skipped."),
    _thing("pink shell", "hear the sea in it", "wear it", "Each kept it for one week at a time."),
    _thing("toy train", "push it fast", "pull it", "One pushed it, and the other one rang a bell."),
    _thing("paint box", "paint a house", "paint a horse", "They painted one big picture."),
)

GO = (
    "One [sunny|warm|bright] [morning|afternoon], {he} went {to_place} with {his} friend "
    "{friend_full}. {seen}",
    "One day, {hero} and {his} friend {friend_full} [walked|ran] {to_place}. {seen}",
    '"Let us go {to_place}!" said {his} friend {friend_full} one [sunny|warm|fine] '
    "[morning|day]. {seen}",
    "On a [sunny|warm|bright] day, {he} met {his} best friend, {friend_full}, {at_place}. {seen}",
    "{His} best friend was {friend_full}. One [morning|day], they went {to_place} together. {seen}",
    "One [afternoon|day], {friend_full} came to play with {him} {at_place}. {seen}",
    '{friend_full} was {his} best friend. "Shall we go {to_place}?" {hero_asked} one [sunny|warm] '
    "[morning|afternoon]. {seen}",
    "It was a [warm|sunny|fine] day, so {hero} took {his} friend {friend_full} {to_place}. {seen}",
)

SEE = (
    "There they saw {a_thing} that [anyone|everyone] [could|was free to] use.",
    'An old man gave them {a_thing}. "This is for you [two|both]," he said.',
    "They found {a_thing}. It was [pretty|lovely], and it belonged to no one.",
    'A sign said, "Please take it." Next to the sign, there was {a_thing}.',
    'A kind woman had {a_thing} for them. "[Share it|Have fun with it]," she said.',
    "They had brought {a_thing} with them, but there was only one.",
    "And there, right in front of them, was {a_thing}. [It was for all the children|Everyone "
    "could play with it].",
    '"Look, {a_thing}!" cried {friend}. [It was free|Nobody else was there], so they could use it.',
)

QUARREL = (
    '"I want to {mine}!" {hero_said}. "No, I want to {yours}!" {friend_said}.',
    "{hero} wanted to {mine}. But {friend} wanted to {yours}.",
    '"It is my turn! I want to {mine}," cried {hero}. '
    '"No, it is mine! I want to {yours}," {friend} cried back.',
    '"Give it to me," {hero_said}. "I want to {mine}." {friend} shook {f_his} head. '
    '"But I want to {yours}."',
    '"I saw it first," {friend_said}. "I will {yours}." "That is not fair," {hero_said}. '
    '"I want to {mine}."',
    "Both of them took hold of the {thing}. {hero} wanted to {mine}, and {friend} wanted to "
    "{yours}.",
    '"Now I will {mine}," {hero_said}. "[No|Oh no], first I will {yours}," {friend_said}.',
    '{friend} was faster. "I am going to {yours}!" {f_he_said}. {hero} [got angry|did not like '
    'that]. "But I want to {mine}!"',
)

WORSE = (
    "They pulled and pulled until [both fell down|the {thing} fell to the ground].",
    "Soon they were both angry. The {thing} lay [on the ground|between them].",
    "{hero} [turned away|sat down with {his} back to {friend}], and {friend} "
    "[began to cry|did not say a word].",
    "{friend} walked a few steps away, and {hero} was alone with the {thing}. "
    "It was [no fun at all|not as much fun].",
    "They did not talk for a long time. The day was not [nice|fun] anymore.",
    "{hero} said a bad word, and {friend} said one too.",
    '"You are not my friend anymore!" {hero_said}. That was a [terrible|bad] thing to say.',
    "{hero} crossed {his} arms. {friend} crossed {f_his} arms too. And nobody played.",
    "Their faces were red, and their voices were loud. [A bird flew away|A dog ran away].",
)

SORRY = (
    "Then {hero} [felt bad|was sorry]. {He} [missed|looked at] {friend} and thought "
    "[hard|for a while].",
    '"[This is silly|I do not like this]," {hero_said} at last. {friend} [nodded|looked up].',
    '{hero} [took a deep breath|counted to ten]. "I am sorry, {friend}," {he_said}.',
    'After a while, {friend} came closer. "I am sorry," {f_he} [said|whispered]. '
    "And {hero} was sorry too.",
    "A little bird sang above them. {hero} [looked up|listened], and {his} anger "
    "[went away|flew off].",
    "{hero} saw that {friend} was [sad|crying], and {he} did not want the {thing} anymore.",
    "But it is no fun to play alone. {hero} [knew that|felt that] in {his} belly.",
    '"Do you still want to be my friend?" {friend_asked} [softly|in a small voice]. '
    '"[Yes|Always]," {hero_said}.',
)

IDEA = (
    '"[I have an idea|I know what to do]," {hero_said}. "[We can share it|Let us share]!"',
    '"We can take turns," {friend_said}. "[You go first|You can start]."',
    '"What if we use it together?" {hero} asked. "[That is a good idea|Yes, let us try]," '
    "{friend_said}.",
    '{hero} held out the {thing}. "Here, you can have it," {he_said}. "No, let us share it," '
    "{friend_said}.",
    '"[It is more fun with two|Two can play]," {friend_said}, and {hero} [agreed|nodded].',
    '"How can we both be happy?" {hero_asked}. They [thought about it|talked about it] and '
    "found a way.",
    '"What would a good friend say?" {friend_asked}. "[Share|Be good to each other]!" they both '
    "said at once.",
    '"There is one {thing}, and there are two of us," {hero_said}. "So let us [share it|play '
    'together]."',
)

SHARED = (
    "{shared} It was [so much fun|wonderful].",
    "And so they did. {shared}",
    "{shared} They laughed [so loudly that everyone turned around|until it hurt].",
    '{shared} "[This is much better!|Why did we not think of this before?]" {hero_said}.',
    "[From then on|Now], there was no more fighting. {shared}",
    "Soon they were [happy|friends] again. {shared}",
    "{shared} The time [flew by|went by like the wind].",
    "{shared} {friend} [laughed|smiled], and {hero} [laughed|smiled] too.",
)

END = (
    "When it was time to go home, they [walked hand in hand|hugged each other].",
    "{hero} learned that [sharing makes everything more fun|a friend is worth more than a toy].",
    "They stayed {at_place} until [the sun went down|it was time for dinner].",
    "From that day on, {hero} and {friend} [shared everything|always took turns].",
    '"[Same time tomorrow|Shall we come back tomorrow]?" {friend_asked}. '
    '"[Yes, please|Of course]!" {hero_said}.',
    "That evening, {hero} [told {his} family about it|thought of {friend} and smiled].",
    '"[I like you better than|You are more important than] any {thing}," {hero_said} on the way '
    "home.",
    "They never forgot that day {at_place}.",
)

TALE = Tale(
    name="share",
    with_animals=True,
    slots=(THINGS, PLACES),
    paragraphs=(
        (OPENING, HABIT, GO),
        (SEE, QUARREL, WORSE),
        (SORRY, IDEA),
        (SHARED, END, LAST_LINE),
    ),
)

"""Something is found; it belongs to someone, and it is given back."""

from __future__ import annotations

from yxanul.text.sources.builtin.tales.common import HABIT, LAST_LINE, OPENING, PLACES
from yxanul.text.sources.builtin.tales.tale import Slot, Tale


def _thing(thing: str, look: str, dear: str) -> dict[str, str]:
    return {"thing": thing, "a_thing": f"a {thing}", "look": look, "dear": dear}


THINGS: Slot = (
    _thing("gold ring", "It was bright like the sun.", "I wore it at my wedding"),
    _thing("small key", "It was old and a little rusty.", "It opens the door of my house"),
    _thing("red purse", "It was full of coins.", "It holds the money for my dinner"),
    _thing("green hat", "It had a long feather on it.", "It was a gift from my best friend"),
    _thing("pocket watch", "It went tick, tock, tick, tock.", "It was my father's watch"),
    _thing("silver spoon", "It had a star on it.", "I have eaten with it since I was a baby"),
    _thing("glass marble", "There was a tiny blue flower in it.", "It brings me luck"),
    _thing("leather bag", "It was heavy and closed with a belt.", "All my letters are in it"),
    _thing("pearl button", "It was white and round.", "It belongs to my best coat"),
    _thing("brass bell", "It rang when you shook it.", "It calls my children home"),
    _thing("wool glove", "It was striped and very warm.", "My sister made it for me"),
    _thing("map", "It showed the way to a big lake.", "It shows me the way to my brother"),
)


def _owner(owner: str, he: str, reward: str) -> dict[str, str]:
    him, his = {"he": ("him", "his"), "she": ("her", "her")}[he]
    return {
        "owner": owner,
        "o_he": he,
        "o_He": he.capitalize(),
        "o_him": him,
        "o_his": his,
        "reward": reward,
    }


OWNERS: Slot = (
    _owner("old woman", "she", "a jar of honey"),
    _owner("old man", "he", "two walnuts and a funny poem"),
    _owner("baker", "he", "a warm roll for each of them"),
    _owner("farmer", "she", "a basket of pears"),
    _owner("teacher", "she", "a gold star for each of them"),
    _owner("postman", "he", "a ride in his yellow car"),
    _owner("sailor", "he", "a story about a whale"),
    _owner("painter", "she", "a small picture of the two friends"),
)

GO = (
    "One [sunny|windy|cool] [morning|afternoon], {he} went {to_place} with {his} friend "
    "{friend_full}. {seen}",
    "One day, {he} and {his} friend {friend_full} played {at_place}. {seen}",
    "It was a [warm|bright|quiet] day, and {hero} ran {to_place}. {His} friend {friend_full} came "
    "too. {seen}",
    "{His} best friend was {friend_full}. They often went {to_place}. {seen}",
    "[After breakfast|After lunch], {hero} and {his} friend {friend_full} walked {to_place}. "
    "{seen}",
    'One [morning|day], {his} friend {friend_full} said, "Come with me {to_place}!" {seen}',
    '"It is a good day to go {to_place}," said {his} friend {friend_full} one [morning|day]. '
    "{seen}",
    "{hero} and {his} friend {friend_full} liked to play {at_place}. {seen}",
)

FIND = (
    "Suddenly, {hero} saw something [on the ground|near {his} foot]. It was {a_thing}. {look}",
    '"[Look what I found|Look at this]!" {hero} [cried|said]. It was {a_thing}. {look}',
    "{hero} [tripped|almost fell] over something. It was {a_thing}. {look}",
    "There, [between two stones|under a leaf|in the grass], was {a_thing}. {look}",
    "{hero} bent down and picked up {a_thing}. {look}",
    "What was that? {hero} had found {a_thing}! {look}",
    "{friend} saw it first, but {hero} picked it up. It was {a_thing}. {look}",
    "In the grass, {hero} saw something [small|pretty]. It was {a_thing}. {look}",
)

TEMPT = (
    '"[Finders keepers|I want to keep it]," {hero_said}. But {friend} [was not so sure|'
    "looked at {him}].",
    '"[It is so pretty|How nice it is]," {hero_said}. {He} put it in {his} pocket.',
    "{hero} wanted to keep the {thing}. [Nobody had seen it|Nobody would ever know].",
    '"[Now it is mine|Lucky me]!" {hero} thought. {friend} [said nothing|looked at the ground].',
    "For a moment, {hero} [thought of keeping it|wanted to take it home].",
    '"We could keep it," {hero_said} [softly|slowly]. {friend} did not answer.',
    "{hero} turned the {thing} around in {his} hand. [How nice it was|It was lovely]!",
)

THINK = (
    '"[Somebody must miss it|Somebody has lost it]," {friend_said}. "[What if it was yours|'
    'How would you feel]?"',
    '{friend} [thought about it|shook {f_his} head]. "It [belongs to someone|is not ours]," '
    "{f_he_said}.",
    '"Do you think that someone is [looking for it|sad now]?" {friend_asked}.',
    'Then {hero} remembered how {he} had once lost {his} [best toy|favorite book]. "[That was a '
    'sad day|I cried for hours]," {he_said} to {friend}.',
    '"We should [find out whose it is|give it back]," {friend_said}, and {hero} [nodded|agreed].',
    '"Would you be happy with it?" {friend_asked}. {hero} thought [hard|for a while]. "No," '
    "{he_said} at last.",
    "Then {hero} looked at {friend} and knew that [it was not right|they had to give it back].",
)

ASK = (
    "They asked [a boy with a dog|a girl with a basket], but the answer was no.",
    "They [walked around and asked everyone|knocked on many doors]. Nobody knew the {thing}.",
    '"Is this yours?" they asked [again and again|everyone they met]. "No," was the answer.',
    "They went from one person to the next, [but had no luck|until their feet hurt].",
    "They looked for someone with a sad face.",
    "They asked [a boy on a bike|a girl with a balloon], but nobody [knew|could help].",
    "They went [up the road and down the road|from door to door], and {hero} held the {thing} "
    "tight.",
)

MEET = (
    "At last, they met the {owner}. {o_He} was looking [at the ground|under every bush].",
    "Then they saw the {owner}, who was almost crying.",
    'There was the {owner}. "[Have you seen my {thing}?|I have lost my {thing}!]" {o_he} called.',
    "On a bench sat the {owner}. {o_He} looked [tired|worried|sad].",
    "The {owner} came by, and {o_his} eyes were on the ground.",
    "There, under a tree, sat the {owner} with {o_his} head in {o_his} hands.",
    '"Look, there is the {owner}," {friend_said}. {o_He} [turned over every stone|looked very '
    "sad].",
)

GIVE = (
    '"Is this [your {thing}|what you lost]?" {hero_asked}. "Yes!" cried the {owner}. "{dear}."',
    '{hero} held out the {thing}. "Oh, thank you!" {owner_said}. "{dear}."',
    '"[We found this|Look]," {friend_said}. The {owner} [laughed|cried] with joy. "{dear}," '
    "{o_he_said}.",
    'When the {owner} saw the {thing}, {o_his} face became bright. "{dear}," {o_he_said}.',
    '"I think that this is yours," {hero_said}. The {owner} [took it|held it to {o_his} heart]. '
    '"{dear}," {o_he_said}.',
    '{hero} opened {his} hand. The {owner} could not believe it. "{dear}," {o_he_said}, '
    "and {o_he} [laughed|cried] with joy.",
    '"Is this what you are looking for?" {friend_asked}. The {owner} [nodded|jumped for joy]. '
    '"{dear}!"',
)

REWARD = (
    "To thank them, the {owner} gave them {reward}.",
    'Then {o_he} smiled. "You are honest children," {o_he_said}, and gave them {reward}.',
    "And because they had been so honest, they got {reward}.",
    'The {owner} took their hands. "I have something for you," {o_he_said}. It was {reward}.',
    "The two friends did not want anything, but the {owner} gave them {reward}.",
    '{o_He} looked at them. "You could have kept it," {o_he_said}, "but you did not." '
    "And then they got {reward}.",
    "There was a gift for them too. It was {reward}.",
)

END = (
    "{hero} felt [warm inside|happier than before].",
    '"[Giving it back was right|I am glad that we gave it back]," {hero_said} on the way home.',
    "{hero} learned that [it feels good to be honest|giving is better than keeping].",
    "From that day on, the {owner} always waved when {o_he} saw them.",
    "And when {hero} lost {his} [scarf|ball] later, someone brought it back to {him} too.",
    "The two friends [sang|skipped] all the way home.",
    "That night, {hero} [slept very well|was glad]. It had been a good day.",
    '"You were right," {hero_said} to {friend}. "[This is better|Now everyone is happy]."',
)

TALE = Tale(
    name="found",
    with_animals=False,
    slots=(THINGS, OWNERS, PLACES),
    paragraphs=(
        (OPENING, HABIT, GO),
        (FIND, TEMPT, THINK),
        (ASK, MEET),
        (GIVE, REWARD),
        (END, LAST_LINE),
    ),
)

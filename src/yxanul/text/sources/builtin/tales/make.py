"""Something is made by hand; the first try fails, a friend has an idea."""

from __future__ import annotations

from yxanul.text.sources.builtin.tales.cast import ELDERS
from yxanul.text.sources.builtin.tales.common import HABIT, LAST_LINE, OPENING
from yxanul.text.sources.builtin.tales.tale import Slot, Tale


def _thing(thing: str, out_of: str, fail: str, idea: str, works: str, fun: str) -> dict[str, str]:
    return {
        "thing": thing,
        "a_thing": f"a {thing}",
        "A_thing": f"A {thing}",
        "out_of": out_of,
        "fail": fail,
        "idea": idea,
        "works": works,
        "fun": fun,
    }


THINGS: Slot = (
    _thing(
        "kite",
        "paper and string",
        "The kite [fell down on its nose every time|would not stay up|came down every time].",
        "It needs a long tail",
        "The kite flew up, up, up into the blue sky.",
        "They [ran up and down with it|let it dance in the wind] until the sun went down.",
    ),
    _thing(
        "toy boat",
        "wood and an old cloth",
        "The boat tipped over in the water right away.",
        "It needs a [flat|heavy] stone at the bottom",
        "The boat sailed across the pond [like a duck|as if it were at sea].",
        "They [waved to the little boat|blew at the sail] and made up stories about the sea.",
    ),
    _thing(
        "drum",
        "an old pot and some cloth",
        "The drum made only a [small|soft], sad sound.",
        "We have to pull the cloth [tight|very tight]",
        "Boom, boom! The drum was so loud that [the birds flew up|everyone jumped].",
        "They walked around the [yard|house] and sang as loudly as they could.",
    ),
    _thing(
        "puppet",
        "an old sock and two buttons",
        "The buttons [fell off|came off], and the puppet had no eyes.",
        "We need a strong thread",
        "The puppet looked around with [shiny|bright] eyes and seemed to smile.",
        "They made a little show, and everyone [clapped|laughed] at the funny puppet.",
    ),
    _thing(
        "birdhouse",
        "some old boards",
        "The roof of the birdhouse [fell in|fell off].",
        "We need more nails",
        "The birdhouse stood [strong|straight], even in the wind.",
        "Soon, two [small|blue] birds moved in and sang [every morning|all summer].",
    ),
    _thing(
        "lamp",
        "a jar and some red paper",
        "The paper [tore|broke] in two, and the light went out.",
        "We can use two sheets of paper",
        "The lamp filled the whole room with [warm|soft] red light.",
        "That night, they told stories in the red light of the lamp.",
    ),
    _thing(
        "crown",
        "gold paper",
        "The crown was too big and fell over {his} [eyes|nose].",
        "We can fold it at the back",
        "The crown sat on {his} head [very well|as if it had always been there].",
        "They played kings and queens [all afternoon|all day], and took turns with the crown.",
    ),
    _thing(
        "swing",
        "a board and a rope",
        "The rope came loose, and {hero} landed in the [grass|hay] with a bump.",
        "We have to tie every knot twice",
        "The swing held them [well|both], and up they went.",
        "They took turns on the swing until [the stars came out|it was dark].",
    ),
    _thing(
        "tent",
        "two chairs and a sheet",
        "The sheet fell down [on {his} head|again and again].",
        "We can hold the sheet with pins",
        "The tent stayed up, and it was [warm|cozy] inside.",
        "They ate [apples|cookies] in the tent and told each other secrets.",
    ),
    _thing(
        "sand castle",
        "sand and shells",
        "A big wave came and took the castle with it.",
        "We should build it away from the water",
        "The sand castle stood [high|tall], and no wave could reach it.",
        "They put a feather on top and named it the castle of the two friends.",
    ),
    _thing(
        "cake",
        "flour, eggs and milk",
        "The first cake was as [hard|flat] as a stone.",
        "I think we forgot the sugar",
        "The cake was [soft and sweet|golden and warm], and it smelled wonderful.",
        "They ate two [big|fat] pieces each and gave the rest to the neighbors.",
    ),
    _thing(
        "mask",
        "paper and paint",
        "{He} put it on, but {he} could not see anything through it.",
        "The holes for the eyes must be bigger",
        "The mask looked like [a hungry bear|a funny old bird|a big green frog].",
        "They [jumped out from behind the door|ran around the house] and roared and laughed.",
    ),
    _thing(
        "wagon",
        "a box and four wheels",
        "One wheel [came off|fell off] and rolled down the road.",
        "Each wheel needs a strong pin",
        "The wagon rolled along [well|fast], and all four wheels stayed on.",
        "They pulled each other [up and down the road|around the yard] and rang a bell.",
    ),
    _thing(
        "robot",
        "boxes and silver paint",
        "Its head [fell off|rolled away] with a loud crash.",
        "We should use more glue",
        "The robot stood [straight|still] and looked as if it could talk.",
        "They gave it a name and [sang to it|put a hat on its head].",
    ),
)

WISH = (
    "One [sunny|windy|quiet] [morning|afternoon], {he} had a wish. {He} wanted to make {a_thing}.",
    '"I want to make {a_thing}," {he_said} one [sunny|windy|quiet] [morning|day].',
    "One day, {he} saw {a_thing} [in a picture book|at the market]. "
    '"I can make one [myself|too]," {he} [thought|said].',
    "More than anything, {he} wanted {a_thing}. "
    '"I will make it [myself|with my hands]," {he_said}.',
    "{He} had dreamed of {a_thing} for [a long time|many days]. "
    "One [morning|day], {he} began to make one.",
    'One day, {he} had nothing to do. "I know! I will make {a_thing}!" {he} [said|cried].',
    "For [weeks|days], {hero} had thought about one thing. {He} wanted to make {a_thing}.",
    '"What would make this day [special|wonderful]?" {he} thought one [morning|afternoon]. "I '
    'know! {A_thing}!"',
    "{hero} could not sleep, because {he} was thinking about {a_thing}. In the morning, {he} "
    "wanted to make one.",
)

STUFF = (
    "{His} {elder} gave {him} {out_of}.",
    "{He} asked {his} {elder} for {out_of}, and {his} {elder} [helped {him} find it all|said yes].",
    '"What do you need?" {elder_asked}. "I need {out_of}," {hero_said}.',
    "{He} found {out_of} with the help of {his} {elder}.",
    "{hero} and {his} {elder} looked around the house. They found {out_of}.",
    '"You can use {out_of}," {elder_said}. "[Have fun|Good luck|Take your time]!"',
    'In the cellar, {he} found {out_of}. "May I use it?" {he_asked}. "Of course," {elder_said}.',
    '{His} {elder} laughed and put {out_of} on the table. "[Show me what you can do|Here you '
    'go]," {e_he_said}.',
)

WORK = (
    "{hero} sat down [on the floor|at the table] and worked [all morning|for a long time].",
    "{hero} worked hard and slowly until it was [ready|done].",
    "{hero} sang [a song|to {himself}] while {he} worked.",
    "It was [not easy|hard work], but {hero} did not mind.",
    "{hero} [worked and worked|did not even stop for lunch].",
    "{hero}'s hands were [busy|dirty], and {his} [face|heart] was full of joy.",
    "{hero} [cut|pulled] and [pushed|turned], and the time went by [quickly|like the wind].",
    "{hero} made a picture of it first, and then {he} [began|started] to work.",
    "{hero} [worked until lunch|did one thing after another], and the floor was [full of little "
    "pieces|a mess].",
)

FAIL = (
    "But [when {he} tried it|at first], it did not go well. {fail}",
    "But oh no! {fail}",
    "Then came a bad surprise. {fail}",
    "[At last|Finally], {he} tried it. {fail} {hero} tried again, but it was [the same|no better].",
    '"[Now it is ready|Look at this]!" {hero_said}. {fail}',
    "But something was [wrong|not right]. {fail}",
    "{hero} was so [proud|happy] at first. But not for long. {fail}",
    "Then it was time to try it. {fail} That was not good.",
)

SAD = (
    '{hero} was [sad|upset]. "[It is no good|I can not do it|I give up]," {he_said}.',
    "{He} [wanted to cry|felt like crying|kicked a stone].",
    "{hero} sat down [on the steps|under a tree] and put {his} head in {his} hands.",
    '"[Why does it not work|What did I do wrong]?" {he} [asked|said].',
    "{hero} felt [bad|angry], and {his} eyes were wet.",
    '"[All that work for nothing|I worked so hard]," {he} [said|whispered].',
    '"I will never make {a_thing}," {he_said}, and {his} voice was very [small|soft].',
    "{hero} looked at it for a long time and did not [say a word|move].",
)

FRIEND = (
    '{His} friend {friend_full} saw it and came [over|to {him}]. "[Do not give up|I have an '
    'idea]!" {f_he_said}. "{idea}."',
    "Then {his} friend {friend_full} came by. {friend} looked at the {thing} and said, "
    '"{idea}. [I will help you|Let us do it together]."',
    '"May I see it?" asked {his} friend {friend_full}. {friend} looked at it for a while. '
    '"{idea}," {f_he_said}.',
    "{His} best friend, {friend_full}, sat down beside {him}. "
    '"[Everyone fails sometimes|The first try is always hard]," {friend_said}. "{idea}."',
    '"[Cheer up|Do not be sad]," said {his} friend {friend_full}. "{idea}. Come, '
    '[we can fix it|let us try again]!"',
    "{hero} went to {his} friend {friend_full} and told {f_him} [everything|what had happened]. "
    '"{idea}," {friend_said}.',
    'At the [door|window] stood {his} friend {friend_full}. "{idea}," {friend_said}. "[That is '
    'all|I am sure of it]."',
    "But {hero} had a good friend, and that was {friend_full}. {friend} [turned it around|looked "
    'at it from all sides]. "{idea}," {f_he_said}.',
)

AGAIN = (
    "So they [tried again|went to work] together.",
    "The two friends [worked side by side|helped each other].",
    "{hero} [dried {his} eyes|smiled again], and they started once more.",
    '"That is a [good|great|clever] idea!" {hero_said}.',
    "{hero} held it, and {friend} did the rest.",
    "[In no time|Before long|An hour later], they were done.",
    '"Do you think so?" {hero_asked}. "[Yes|Of course]! Come on," {friend_said}.',
    "{hero} wanted to try it at once, and {friend} [helped|stayed with {him}].",
    "Four hands are better than two, and soon it was [done|ready].",
)

WORKS = (
    "This time, it worked! {works}",
    "They held their breath. {works}",
    'And then? {works} "[We did it|Hooray]!" they [shouted|cried].',
    "{works} {hero} could [hardly|not] believe it.",
    '"[Look|Look at that]!" cried {friend}. {works}',
    "[Now|This time] everything went well. {works}",
    "Then they tried it. {works} It was [even better than in {his} dreams|wonderful].",
    '"[One, two, three|Ready]!" {friend_said}. {works}',
)

END = (
    '{hero} [thanked|hugged] {friend}. "[Two heads are better than one|I could not have done it '
    'without you]," {he_said}.',
    '"I am [glad|happy] that I did not give up," {hero_said}.',
    "{hero} learned that [the first try can go wrong|it is good to try again|friends can do more "
    "together].",
    "{His} {elder} was [very proud of|happy for] them.",
    '"What shall we make [next|tomorrow]?" {friend_asked}, and they both laughed.',
    "It was the best {thing} in the [whole|wide] world, because they had made it together.",
    "That night, {hero} fell asleep with a smile and dreamed of the {thing}.",
    "{hero} looked at {friend} and knew that a good friend is the best [gift|help] of all.",
    'When {his} {elder} saw it, {e_he} [clapped|laughed with joy]. "[Well done|That is lovely]!" '
    "{e_he_said}.",
)

TALE = Tale(
    name="make",
    with_animals=True,
    slots=(THINGS, ELDERS),
    paragraphs=(
        (OPENING, HABIT, WISH),
        (STUFF, WORK),
        (FAIL, SAD),
        (FRIEND, AGAIN),
        (WORKS, ("{fun}",), END, LAST_LINE),
    ),
)

"""The kinds of stories that the built-in source tells: words and templates, no code to run."""

from yxanul.text.sources.builtin.tales import (
    fear,
    found,
    gift,
    grow,
    learn,
    lost,
    make,
    rescue,
    share,
    truth,
)
from yxanul.text.sources.builtin.tales.tale import Tale

TALES: dict[str, Tale] = {
    module.TALE.name: module.TALE
    for module in (fear, found, gift, grow, learn, lost, make, rescue, share, truth)
}

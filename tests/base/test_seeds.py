import pytest

from yxanul.base.seeds import derive_seed


@pytest.mark.parametrize(
    ("words", "seed"),
    [
        ((0,), 4246866556266386882),
        ((0, "order", "stories"), 5224871382491816851),
        ((7, "weights"), 3704256060941664783),
        ((7, "order", 3), 6099876426492485686),
    ],
)
def test_seeds_never_change(words, seed):
    assert derive_seed(*words) == seed


def test_every_word_counts_and_borders_between_words_too():
    words = [(1,), (2,), (1, "a"), (1, "b"), (1, "a", "b"), (1, "b", "a"), (1, "ab"), (1, "a", 0)]
    assert len({derive_seed(*each) for each in words}) == len(words)


def test_seeds_fit_every_generator():
    seeds = [derive_seed(0, number) for number in range(1000)]
    assert len(set(seeds)) == 1000
    assert min(seeds) >= 0 and 2**62 < max(seeds) < 2**63

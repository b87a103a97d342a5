import random

import numpy as np

from yxanul.text.dedup.near import Components


def united(count, pairs, at_once):
    components = Components(count)
    for start in range(0, len(pairs), at_once):
        left, right = np.array(pairs[start : start + at_once], np.uint32).T
        components.unite(left, right)
    return components


def test_a_long_chain_in_any_order():
    pairs = [(number, number + 1) for number in range(0, 3000, 1)]
    for order in (pairs, pairs[::-1], random.Random(1).sample(pairs, len(pairs))):
        components = united(3002, order, 50)
        roots = components.roots(np.arange(3002))
        assert not roots[:3001].any()
        assert roots[3001] == 3001


def test_the_earliest_is_the_root_whatever_the_steps():
    draws = random.Random(2)
    pairs = [(draws.randrange(1000), draws.randrange(1000)) for _ in range(700)]
    neighbours = {number: set() for number in range(1000)}
    for a, b in pairs:
        neighbours[a].add(b)
        neighbours[b].add(a)
    wanted = list(range(1000))
    for number in range(1000):
        todo = [number] if wanted[number] == number else []
        while todo:
            one = todo.pop()
            todo += [n for n in neighbours[one] if wanted[n] > number]
            for n in neighbours[one]:
                wanted[n] = min(wanted[n], number)
    for at_once in (1, 13, 700):
        components = united(1000, pairs, at_once)
        assert components.roots(np.arange(1000)).tolist() == wanted
        assert np.array_equal(components.later_members(), np.array(wanted) != np.arange(1000))

import subprocess
import sys
from hashlib import blake2b, sha256

import pytest

from yxanul.text.sources.builtin import DOMAINS, SYNTHETIC_NOTICE

# Of the documents that `test_documents_never_change` names, joined by line breaks.
PINNED = {
    "stories": "0d47df1b80527a01c453520cda78eeb1a9bb9995bded60ae8920d32a828ec5cc",
    "math": "6d430249c398ef6d199dd33b43e3c30b1f7cd3815051fa8c41a99de61f2cac74",
    "reasoning": "b12f6c48d2155a34ea7a5a5df8cadd3611387cbfd6890a4bff082277265120b4",
}


def test_the_notice_says_who_wrote_it():
    assert "written by a program" in SYNTHETIC_NOTICE


@pytest.mark.parametrize("domain", DOMAINS)
def test_another_process_writes_the_same(domain):
    """Also with another hash seed, which shuffles sets of strings."""
    code = (
        "from yxanul.text.sources.builtin import DOMAINS\n"
        f"print(repr([DOMAINS[{domain!r}](n, 11) for n in range(40)]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONHASHSEED": "77"}
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == repr([DOMAINS[domain](n, 11) for n in range(40)])


@pytest.mark.parametrize("domain", DOMAINS)
def test_documents_never_change(domain):
    """A result that names a domain and a seed is about these very bytes."""
    numbers = (*range(300), *range(10**6, 10**6 + 50), *range(10**12, 10**12 + 50))
    texts = [DOMAINS[domain](n, seed) for seed in (0, 1, 17) for n in numbers]
    assert sha256("\n".join(texts).encode()).hexdigest() == PINNED[domain]


@pytest.mark.parametrize("domain", DOMAINS)
def test_any_order_and_any_index(domain):
    document = DOMAINS[domain]
    forward = [document(n, 4) for n in range(30)]
    assert [document(n, 4) for n in reversed(range(30))] == forward[::-1]
    assert document(10**12, 4)


@pytest.mark.slow
@pytest.mark.parametrize("domain", DOMAINS)
def test_two_hundred_thousand_documents_are_all_different(domain):
    document = DOMAINS[domain]
    digests = {blake2b(document(n, 0).encode(), digest_size=16).digest() for n in range(200_000)}
    assert len(digests) == 200_000

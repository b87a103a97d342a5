import subprocess
import sys
from hashlib import blake2b

import pytest

from yxanul.text.sources.builtin import DOMAINS, SYNTHETIC_NOTICE


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

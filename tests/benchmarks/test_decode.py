"""The benchmark of generation, run on a tiny shape."""

import pytest

SHORT = ("--device", "cpu", "--shapes", "tiny", "--precisions", "fp32", "--rounds", "1")
SHORT += ("--repeats", "1", "--prompt-tokens", "8", "--new-tokens", "8")


@pytest.mark.slow
def test_smoke(benchmark_results):
    found = benchmark_results("decode.py", *SHORT, "--batches", "1", "2", "--contenders", "yxanul")
    assert [row["batch"] for row in found["rows"]] == [1, 2]
    for row in found["rows"]:
        assert not row["absent"]
        assert row["contenders"]["yxanul"]["tokens_per_second"] > 0


@pytest.mark.slow
def test_transformers_says_the_same(benchmark_results):
    pytest.importorskip("transformers", reason="needs the extra 'bench'")
    names = ("yxanul", "transformers-dynamic", "transformers-static")
    found = benchmark_results("decode.py", *SHORT, "--batches", "2", "--contenders", *names)
    agreeing = {one["agreeing_tokens"] for one in found["rows"][0]["contenders"].values()}
    assert agreeing == {16}

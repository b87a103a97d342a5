"""The benchmark of a training step, run on a tiny shape."""

import pytest

from harness.process import Contender, ContenderFailed

SHORT = ("--device", "cpu", "--shapes", "tiny", "--rounds", "1", "--steps", "1")


@pytest.mark.slow
def test_smoke(benchmark_results):
    found = benchmark_results(
        "step.py", *SHORT, "--precisions", "fp32", "--contenders", "yxanul", "nanogpt"
    )
    (row,) = found["rows"]
    assert not row["absent"]
    ours, plain = row["contenders"]["yxanul"], row["contenders"]["nanogpt"]
    assert found["machine"]["threads"] == 1
    assert ours["first_loss"] == pytest.approx(plain["first_loss"], rel=1e-5)
    expected = ours["tokens_per_second"] / plain["tokens_per_second"]
    assert row["ratios"]["yxanul"]["nanogpt"]["median"] == pytest.approx(expected, rel=1e-2)
    assert ours["parameters"] == plain["parameters"] == plain["parameters_with_padding"]
    assert 0 < ours["mfu"] < 1


@pytest.mark.slow
def test_peers_start_at_our_loss(benchmark_results):
    pytest.importorskip("transformers", reason="needs the extra 'bench'")
    names = ("yxanul", "transformers-sdpa", "litgpt")
    found = benchmark_results("step.py", *SHORT, "--precisions", "bf16", "--contenders", *names)
    assert len(found["rows"][0]["contenders"]) + len(found["rows"][0]["absent"]) == 3


@pytest.mark.slow
def test_a_contender_that_fails_says_why():
    with pytest.raises(ContenderFailed, match="KeyError: 'round'"):
        Contender(
            "step:TrainingStep",
            {
                "work": "step",
                "contender": "yxanul",
                "shape": "round",
                "device": "cpu",
                "tokens": 32,
                "seq_len": 32,
                "seed": 0,
            },
        )

import pytest

from yxanul.checkpoint import CheckpointSettings


@pytest.mark.parametrize(
    "best",
    [
        "val/bits_per_byte",
        "val/loss",
        "val/math/perplexity",
        "val/web-en.2/bits_per_byte",
        "val/loss/loss",
        "val/math/surprise_ratio",
        "val/loss_variance",
    ],
)
def test_the_best_by_any_figure_of_any_domain(best):
    assert CheckpointSettings(best=best).best == best


@pytest.mark.parametrize(
    "best",
    [
        "", "loss", "val", "val/", "val//loss", "val/math", "val/math/",
        "train/loss", "val/a/b/loss", "val/loss ", " val/loss", "val/a b/loss", "val/Loss",
        "val/math/loss\n", "val/*/loss",
    ],
)  # fmt: skip
def test_what_cannot_be_the_best_is_refused(best):
    with pytest.raises(ValueError, match=r"unknown metric|single metric") as caught:
        CheckpointSettings(best=best)
    assert len(caught.value.errors()[0]["msg"].splitlines()) == 1


@pytest.mark.parametrize(
    ("best", "meant"),
    [
        ("val/perplexty", "val/perplexity"),
        ("val/math/bits_per_bite", "val/math/bits_per_byte"),
        ("perplexity", "val/perplexity"),
        ("train/loss", "val/loss"),
    ],
)
def test_a_near_miss_is_answered(best, meant):
    with pytest.raises(ValueError, match=f"did you mean '{meant}'"):
        CheckpointSettings(best=best)


def test_defaults():
    settings = CheckpointSettings()
    assert settings.background and settings.phase_ends and settings.keep_every_steps is None
    assert settings.best == "val/bits_per_byte"


@pytest.mark.parametrize(
    "bad",
    [
        {"keep": 0},
        {"every_steps": 0},
        {"every_minutes": -1},
        {"every_minutes": float("inf")},
        {"keep_every_steps": 0},
    ],
)
def test_impossible_settings_are_refused(bad):
    with pytest.raises(ValueError, match=r"greater than|finite"):
        CheckpointSettings.model_validate(bad)

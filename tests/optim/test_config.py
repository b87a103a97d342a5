import pytest
from pydantic import ValidationError

from yxanul.optim import OptimSettings, ScheduleSettings


def test_defaults_and_round_trip():
    settings = OptimSettings(peak_lr=1e-3)
    assert (settings.name, settings.grad_clip) == ("adamw", 1.0)
    assert (settings.used_betas, settings.used_eps) == ((0.9, 0.95), 1e-8)
    assert OptimSettings.model_validate(settings.model_dump()) == settings


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"peak_lr": 0}, "greater than 0"),
        ({"peak_lr": float("inf")}, "finite"),
        ({"betas": (0.9, 1.0)}, "less than 1"),
        ({"betas": (-0.1, 0.9)}, "greater than or equal to 0"),
        ({"grad_clip": 0}, "greater than 0"),
        ({"muon_lr": 1e-2}, "requires optimizer muon"),
        ({"name": "lion", "eps": 1e-8}, "eps requires optimizer adamw or"),
        ({"name": "adafactor", "betas": (0.9, 0.95)}, "betas requires optimizer"),
        ({"name": "lion", "hessian_steps": 5}, "requires optimizer sophia"),
        ({"name": "sophia", "hessian_scale": 0}, "greater than 0"),
        ({"peak_rates": 1e-2}, "Extra inputs"),
        ({"schedule": {"name": "cosine", "min_lr": 2e-3}}, "above peak_lr"),
    ],
)
def test_impossible_settings_are_refused(changes, sentence):
    with pytest.raises(ValidationError, match=sentence):
        OptimSettings.model_validate({"peak_lr": 1e-3, **changes})


@pytest.mark.parametrize(
    ("schedule", "sentence"),
    [
        ({"warmup_steps": 5, "warmup_fraction": 0.1}, "warmup_steps and warmup_fraction"),
        ({"warmup_steps": 0, "warmup_tokens": 0}, "warmup_steps and warmup_tokens"),
        ({"name": "linear_to_zero", "min_lr": 0.0}, "minimum rate"),
        ({"name": "constant", "min_lr_fraction": 0.1}, "minimum rate"),
        (
            {"name": "cosine", "min_lr_fraction": 0.1, "min_lr": 1e-5},
            "got min_lr and min_lr_fraction",
        ),
        ({"name": "cosine", "decay_fraction": 0.1}, "requires schedule wsd"),
        ({"name": "wsd", "decay_fraction": 0.9, "warmup_fraction": 0.2}, "more than 1"),
        ({"warmup_steps": 5, "schedule_unit": "tokens"}, "schedule_unit steps"),
        ({"warmup_tokens": 5, "schedule_unit": "steps"}, "schedule_unit tokens"),
        ({"warmup_fraction": 1.0}, "less than 1"),
    ],
)
def test_contradicting_schedules_are_refused(schedule, sentence):
    with pytest.raises(ValidationError, match=sentence):
        ScheduleSettings.model_validate(schedule)


def test_the_clock_follows_the_warmup():
    assert ScheduleSettings(warmup_steps=3).clock == "steps"
    assert ScheduleSettings(warmup_tokens=3).clock == "tokens"
    assert ScheduleSettings(warmup_fraction=0.1).clock == "steps"
    assert ScheduleSettings(warmup_fraction=0.1, schedule_unit="tokens").clock == "tokens"


@pytest.mark.parametrize(
    ("name", "betas"), [("muon", (0.9, 0.95)), ("lion", (0.9, 0.99)), ("sophia", (0.965, 0.99))]
)
def test_betas_follow_the_optimizer_unless_they_are_given(name, betas):
    assert OptimSettings(name=name, peak_lr=1e-3).used_betas == betas
    assert OptimSettings(name=name, peak_lr=1e-3, betas=(0.0, 0.5)).used_betas == (0.0, 0.5)

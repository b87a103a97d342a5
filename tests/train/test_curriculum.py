import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yxanul.optim.config import OptimSettings, ScheduleSettings
from yxanul.train.config import PhaseSettings, TrainSettings
from yxanul.train.curriculum import make_plan, planned_lr
from yxanul.train.plan_changes import extend, replan, shorten

ULTRA = {
    "from_step": [0, 2000, 5000, 10000, 20000, 35000, 55000, 80000, 110000, 140000],
    "seq_len": [8, 16, 32, 64, 128, 256, 512, 768, 1536, 2048],
    "device_batch_size": [4096, 4096, 2048, 1024, 512, 256, 128, 128, 64, 32],
    "grad_accum_steps": [1] * 9 + [2],
    "lr_scale": [0.3, 0.4, 0.5, 0.6, 0.75, 0.85, 0.95, 1, 1, 1],
    "grad_clip": [0.5, 0.5, 0.7, 0.8, 0.9, 1, 1, 1, 1, 1],
}


def phases(table):
    columns = zip(*table.values(), strict=True)
    return [PhaseSettings(**dict(zip(table, column, strict=True))) for column in columns]


def plan_of(curriculum, batch_tokens=4096, clip=None, **budget):
    train = TrainSettings(batch_tokens=batch_tokens)
    return make_plan(curriculum, {"a": 1.0}, train, clip=clip, **budget)


def walk(plan):
    """Count tokens and rows by asking for the phase of every single step."""
    tokens = rows = 0
    for step in range(plan.total_steps):
        phase = plan.phase_at(step)
        tokens += phase.step_tokens
        rows += phase.rows
    return tokens, rows


def test_ultra_totals_are_exact():
    plan = plan_of(phases(ULTRA), clip=1.0, steps=200_000)
    assert plan.total_tokens == 18_939_904_000
    assert walk(plan) == (18_939_904_000, 66_560_000)


def test_a_change_takes_effect_on_its_very_step():
    plan = plan_of(phases(ULTRA), clip=1.0, steps=200_000)
    assert plan.phase_at(1_999).clip == 0.5 and plan.phase_at(1_999).lr_scale == 0.3
    assert plan.phase_at(2_000).lr_scale == 0.4 and plan.phase_at(2_000).seq_len == 16
    assert plan.phase_at(139_999).rows == 64 and plan.phase_at(140_000).rows == 64
    assert plan.phase_at(140_000).micro_rows == 32


def test_shares_of_steps_and_of_tokens():
    curriculum = [PhaseSettings(seq_len=64, share=0.2), PhaseSettings(seq_len=256, share=0.8)]
    by_steps = plan_of(curriculum, 1024, steps=100)
    assert [phase.num_steps for phase in by_steps.phases] == [20, 80]
    by_tokens = plan_of(curriculum, 1024, tokens=100_000)
    assert by_tokens.total_tokens == 100_352  # rounded up to a whole step
    assert by_tokens.phases[0].num_tokens == 20_480


def test_token_phases_reach_their_counts_exactly_where_steps_divide_them():
    lengths = [8, 16, 32, 64, 128, 256, 512, 768, 1536, 2048]
    millions = [10, 20, 30, 40, 75, 100, 125, 150, 200, 250]
    starts = [sum(millions[:i]) * 1_000_000 for i in range(10)]
    curriculum = [
        PhaseSettings(seq_len=t, from_tokens=s) for t, s in zip(lengths, starts, strict=True)
    ]
    plan = plan_of(curriculum, 61_440, tokens=1_000_000_000)
    assert 0 <= plan.total_tokens - 1_000_000_000 < 65_536
    for phase, start in zip(plan.phases, starts, strict=True):
        assert 0 <= plan.tokens_after(phase.first_step) - start < 65_536


def test_a_budget_shorter_than_the_curriculum_cuts_it():
    plan = plan_of(phases(ULTRA), clip=1.0, steps=3_000)
    assert plan.total_steps == 3_000
    assert [phase.num_steps for phase in plan.phases] == [2_000, 1_000]


@given(
    steps=st.integers(1, 500),
    shares=st.lists(st.integers(1, 20), min_size=1, max_size=6),
    batch_tokens=st.integers(64, 4096),
)
def test_steps_are_neither_lost_nor_added(steps, shares, batch_tokens):
    total = sum(shares)
    curriculum = [PhaseSettings(seq_len=8 * (i + 1), share=s / total) for i, s in enumerate(shares)]
    plan = plan_of(curriculum, batch_tokens, steps=steps)
    assert plan.total_steps == steps
    assert plan.tokens_after(steps) == plan.total_tokens == walk(plan)[0]


@given(
    counts=st.lists(st.integers(1, 9_999), min_size=1, max_size=4),
    seq_len=st.integers(1, 70),
    batch_tokens=st.integers(70, 900),
)
def test_phases_that_have_tokens_have_them_exactly(counts, seq_len, batch_tokens):
    curriculum = [PhaseSettings(seq_len=seq_len, tokens=count) for count in counts]
    plan = plan_of(curriculum, batch_tokens, tokens=sum(counts))
    seen = dict.fromkeys(range(len(counts)), 0)
    for step in range(plan.total_steps):
        phase = plan.phase_at(step)
        assert phase.seq_len <= seq_len and phase.step_tokens <= batch_tokens
        assert 0 < phase.micro_rows <= phase.rows
        seen[phase.index] += phase.step_tokens
    assert list(seen.values()) == counts
    assert plan.tokens_after(plan.total_steps) == plan.total_tokens == sum(counts)
    # At most two steps of a phase are smaller than the others.
    assert len(plan.phases) <= 3 * len(counts)


def test_a_phase_with_tokens_ends_in_one_smaller_step_where_that_divides():
    curriculum = [PhaseSettings(seq_len=64, tokens=1_000), PhaseSettings(seq_len=128, tokens=500)]
    plan = plan_of(curriculum, 256, tokens=1_500)
    shapes = [(p.index, p.num_steps, p.rows, p.seq_len) for p in plan.phases]
    assert shapes == [(0, 3, 4, 64), (0, 1, 4, 58), (1, 1, 2, 128), (1, 1, 2, 122)]
    assert [step for step in range(plan.total_steps + 1) if plan.is_phase_end(step)] == [4, 6]


def test_a_budget_in_steps_cuts_phases_that_have_tokens():
    curriculum = [PhaseSettings(seq_len=64, tokens=1_000), PhaseSettings(seq_len=128, tokens=500)]
    for steps in (1, 3, 4, 5, 9):
        plan = plan_of(curriculum, 256, steps=steps)
        assert plan.total_steps == steps


def test_the_planned_lr_is_the_schedule_times_the_phase():
    plan = plan_of(phases(ULTRA), clip=1.0, steps=200_000)
    optim = OptimSettings(
        peak_lr=6e-4, schedule=ScheduleSettings(name="cosine", warmup_fraction=0.01)
    )
    assert planned_lr(plan, optim, 1_999) == pytest.approx(0.3 * 6e-4)
    assert planned_lr(plan, optim, 199_999) == pytest.approx(6e-5)


def planned(tokens, schedule="linear_to_zero"):
    schedule = {"name": schedule, "warmup_fraction": 0.1}
    optim = OptimSettings(peak_lr=1.0, schedule=schedule)
    phases = [PhaseSettings(seq_len=t, share=s) for t, s in ((8, 0.25), (16, 0.25), (32, 0.5))]
    return plan_of(phases, 32, tokens=tokens), optim


@settings(max_examples=60, deadline=None)
@given(st.integers(3_200, 40_000), st.floats(0.2, 5), st.floats(0, 1))
def test_a_plan_made_anew_goes_on_from_the_share_that_is_done(tokens, factor, share):
    plan, optim = planned(tokens)
    done = round(share * (plan.total_steps - 1))
    whole, _ = planned(round(tokens * factor))
    new = replan(plan, whole, done, by_share=True)
    assert new.tokens_after(done) == plan.tokens_after(done)
    assert [new.phase_at(n).index for n in range(done)] == [
        plan.phase_at(n).index for n in range(done)
    ]
    indexes = [new.phase_at(n).index for n in range(new.total_steps)]
    assert indexes == sorted(indexes) and len(indexes) == new.phases[-1].first_step + (
        new.phases[-1].num_steps
    )
    left = plan.total_tokens - plan.tokens_after(done)
    assert new.total_tokens - new.tokens_after(done) == pytest.approx(
        left * factor, abs=4 * 32 * max(1, factor)
    )
    # The rate takes up where the old plan would have gone on, and ends where it ends.
    if 0 < done < new.total_steps:
        before, after = planned_lr(plan, optim, done), planned_lr(new, optim, done)
        step = 1 / min(plan.total_steps, whole.total_steps)
        assert after == pytest.approx(before, abs=25 * step)
        assert planned_lr(new, optim, new.total_steps - 1) <= 25 / whole.total_steps
    for number in range(done):
        assert planned_lr(new, optim, number) == planned_lr(plan, optim, number)


def test_a_plan_made_anew_of_the_same_length_is_the_same():
    plan, optim = planned(6_400)
    new = replan(plan, plan, 70, by_share=True)
    assert new.phases == plan.phases
    rates = [[planned_lr(one, optim, n) for n in range(plan.total_steps)] for one in (plan, new)]
    assert rates[0] == rates[1]


def test_phases_at_fixed_steps_stay_there():
    phases = [PhaseSettings(seq_len=8, from_step=0), PhaseSettings(seq_len=16, from_step=50)]
    short, long = (plan_of(phases, 32, tokens=n) for n in (3_200, 6_400))
    new = replan(short, long, 30, by_share=False)
    assert new.phases == long.phases


@pytest.mark.parametrize("schedule", ["linear_to_zero", "cosine", "wsd", "constant"])
def test_an_extension_has_a_schedule_of_its_own(schedule):
    plan, optim = planned(6_400, schedule)
    more = extend(extend(plan, 3_200), 3_200)
    assert (more.total_steps, more.total_tokens) == (400, 12_800)
    rates = [planned_lr(more, optim, n) for n in range(400)]
    assert rates[:200] == [planned_lr(plan, optim, n) for n in range(200)]
    assert rates[200:300] == rates[300:]
    assert rates[200] == 0.25 and rates[201] == 0.5 == max(rates[200:])
    down = rates[202:300]
    assert down == sorted(down, reverse=True)
    assert (down[-1] < 0.1) == (schedule != "constant")
    assert {more.phase_at(n).seq_len for n in range(200, 400)} == {32}


def test_a_plan_made_anew_can_be_cut():
    plan, optim = planned(6_400, "wsd")
    new = replan(plan, planned(9_600, "wsd")[0], 60, by_share=True)
    cut = shorten(new, 150)
    assert cut.total_steps == 150
    rates = [planned_lr(cut, optim, n) for n in range(150)]
    assert rates[:60] == [planned_lr(plan, optim, n) for n in range(60)]
    assert rates[-1] < 0.1 and max(rates) == 1.0

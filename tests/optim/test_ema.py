import pytest
import torch

from yxanul.optim.ema import Ema


class Two(torch.nn.Module):
    """Two weights."""

    def __init__(self):
        super().__init__()
        self.a = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        self.b = torch.nn.Parameter(torch.tensor([[3.0]]))


def walk(model, ema, steps, start=0):
    for step in range(start, start + steps):
        with torch.no_grad():
            model.a.mul_(0.9).add_(0.1 * step)
            model.b.sub_(0.25 * step)
        ema.update()


@pytest.mark.parametrize("decay", [0.3, 0.9, 0.999])
def test_is_the_mean_that_the_formula_says(decay):
    model = Two()
    ema = Ema(dict(model.named_parameters()), decay)
    plain = model.a.detach().double()
    for step in range(40):
        walk(model, ema, 1, step)
        used = min(decay, (2 + step) / (11 + step))
        plain = used * plain + (1 - used) * model.a.detach().double()
        torch.testing.assert_close(ema.averages["a"].double(), plain, rtol=1e-6, atol=1e-6)
    assert ema.num_updates == 40


def test_in_place_for_a_while_and_back_to_the_bit():
    model, refreshed = Two(), []
    ema = Ema(dict(model.named_parameters()), 0.9)
    walk(model, ema, 9)
    weight, mean = model.a.detach().clone(), ema.averages["a"].clone()
    assert not torch.equal(weight, mean)
    with pytest.raises(KeyError), ema.in_place(lambda: refreshed.append(model.a.detach().clone())):
        assert torch.equal(model.a, mean)
        raise KeyError
    assert torch.equal(model.a, weight) and torch.equal(ema.averages["a"], mean)
    assert torch.equal(refreshed[0], mean) and torch.equal(refreshed[1], weight)


def test_goes_on_to_the_bit_from_what_was_saved():
    model = Two()
    ema = Ema(dict(model.named_parameters()), 0.95)
    walk(model, ema, 6)
    saved = {name: value.clone() for name, value in ema.averages.items()}
    again = Two()
    again.load_state_dict(model.state_dict())
    other = Ema(dict(again.named_parameters()), 0.95)
    other.load(saved, ema.num_updates)
    walk(model, ema, 5, 6)
    walk(again, other, 5, 6)
    assert all(torch.equal(ema.averages[name], other.averages[name]) for name in ("a", "b"))


def test_adopting_begins_anew_from_the_mean():
    model = Two()
    ema = Ema(dict(model.named_parameters()), 0.9)
    walk(model, ema, 5)
    ema.adopt()
    assert torch.equal(model.a, ema.averages["a"]) and ema.num_updates == 0
    assert model.a is not ema.averages["a"]

import torch

from yxanul.optim.config import OptimSettings
from yxanul.optim.groups import build_optimizer, set_lr


def test_it_equals_torchs_to_the_bit():
    def weights():
        generator = torch.Generator().manual_seed(0)
        return [torch.nn.Parameter(torch.randn(5, 7, generator=generator)) for _ in range(3)]

    settings = OptimSettings(name="adamw", peak_lr=1e-2, weight_decay=0.1)
    ours, theirs = weights(), weights()
    named = {str(number): weight for number, weight in enumerate(ours)}
    optimizer = build_optimizer(named.items(), dict.fromkeys(named, "matrix"), settings)
    rates = {"lr": 1e-2, "betas": settings.used_betas, "eps": settings.used_eps}
    torchs = torch.optim.AdamW(theirs, **rates, weight_decay=0.1, fused=True)
    generator = torch.Generator().manual_seed(1)
    for step in range(6):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(5, 7, generator=generator)
            other.grad = one.grad.clone()
        if step == 3:
            ours[0].grad = theirs[0].grad = None  # as of a layer that a step did not use
        set_lr(optimizer, 1 / (1 + step))
        torchs.param_groups[0]["lr"] = 1e-2 / (1 + step)
        optimizer.step()
        torchs.step()
    assert all(map(torch.equal, ours, theirs))

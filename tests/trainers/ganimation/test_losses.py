"""The losses against closed forms, the paper's forms beside the official code's."""

from __future__ import annotations

import pytest
import torch

from trainers.ganimation import losses
from trainers.ganimation.networks import Discriminator
from trainers.ganimation.panels import Edit
from trainers.ganimation.recipe import Pairs
from trainers.ganimation.supervision import pair_losses, target_of


def ramp(batch: int = 2, side: int = 4) -> torch.Tensor:
    """Masks that rise by 0.1 from column to column."""
    return (torch.arange(side) * 0.1).expand(batch, 1, side, side).clone()


def test_smoothness_has_three_forms() -> None:
    """Sum over the batch (official), squares over the batch's mean (paper), and one that depends on no size."""
    steps = 4 * 3
    assert float(losses.smooth_absolute(ramp())) == pytest.approx(2 * steps * 0.1, rel=1e-5)
    assert float(losses.smooth_squared(ramp())) == pytest.approx(steps * 0.01, rel=1e-5)
    assert float(losses.smooth_squared_mean(ramp())) == pytest.approx(0.01, rel=1e-5)
    assert float(losses.smooth_squared_mean(ramp(5, 9))) == pytest.approx(0.01, rel=1e-4)


def test_pairs_that_hardly_differ_may_count_as_much() -> None:
    """even 0 leaves the losses as they are; at 1 a tenth of the difference counts a little less than tenfold."""
    source = torch.zeros(2, 3, 16, 16)
    aim = source.clone()
    aim[0, :, 4:12, 4:12], aim[1, :, 4:12, 4:12] = 0.4, 0.04
    target = target_of(source, aim, 0.06)
    assert target.apart.flatten().tolist() == pytest.approx([0.05, 0.005])
    few, many = target.even(1.0)[1], target.even(1.0)[0]
    assert float(few / many) == pytest.approx((0.05 + 0.003) / (0.005 + 0.003), rel=1e-4)
    made = Edit(source, torch.full((2, 1, 16, 16), 0.5), source)
    plain, same = (pair_losses(made, target, Pairs(even=even), 1.0) for even in (0.0, 1e-12))
    for name, loss in plain.items():
        torch.testing.assert_close(loss, same[name])
    assert float(pair_losses(made, target, Pairs(even=1.0), 1.0)["p_picture"]) < float(plain["p_picture"])


def test_the_mask_s_norm_has_two_forms() -> None:
    """Mean (official), or the L2 norm of each mask, mean over the batch (paper)."""
    attention = torch.full((3, 1, 4, 4), 0.5)
    assert float(losses.mask_mean(attention)) == 0.5
    assert float(losses.mask_l2(attention)) == pytest.approx(2.0)


def test_the_batch_changes_the_official_conditioning_alone() -> None:
    """At the paper's batch of 25 a weight of 4000 is 160; only the constant form keeps it at any other."""
    for batch in (1, 4, 25):
        off, wanted = torch.full((batch, 17), 0.5), torch.zeros(batch, 17)
        assert float(losses.condition_constant(off, wanted)) == pytest.approx(0.25)
        assert float(losses.condition_by_batch(off, wanted)) == pytest.approx(0.25 / batch)


def test_action_units_are_never_broadcast() -> None:
    """(17,) against (1, 17) is the official code's silent mistake at a batch of one."""
    with pytest.raises(ValueError, match="expected \\(1, 17\\), got \\(17,\\)"):
        losses.condition_constant(torch.zeros(17), torch.zeros(1, 17))


def test_the_penalty_of_a_linear_critic_is_known() -> None:
    """The gradient of the sum of a convolution's scores is the sum of its taps, whatever alpha is."""
    critic = Discriminator(8, 4, 17, 1)
    with torch.no_grad():
        critic.main[0].weight.zero_()
        critic.main[0].bias.fill_(1.0)
        critic.main[0].weight[:, :, 1, 1] = 0.5
        critic.conv1.weight.zero_()
        critic.conv1.weight[:, :, 1, 1] = 1.0
    real = torch.rand(2, 3, 8, 8)
    penalty = losses.gradient_penalty(critic, real, torch.rand(2, 3, 8, 8), torch.rand(2, 1, 1, 1))
    norm = (4 * 4 * 3 * (4 * 0.5) ** 2) ** 0.5
    assert penalty.norms.tolist() == pytest.approx([norm, norm])
    assert penalty.value.item() == pytest.approx((norm - 1) ** 2)


def test_a_dead_critic_gives_no_nan() -> None:
    """A gradient of exactly 0 has a norm without a slope."""
    critic = Discriminator(8, 4, 17, 1)
    with torch.no_grad():
        critic.conv1.weight.zero_()
    penalty = losses.gradient_penalty(
        critic, torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8), torch.rand(1, 1, 1, 1)
    )
    penalty.value.backward()
    assert penalty.value.item() == pytest.approx(1.0)
    assert all(one.grad is None or bool(one.grad.isfinite().all()) for one in critic.parameters())

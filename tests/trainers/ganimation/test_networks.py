"""The two networks: names, sizes, batch axis, and what is refused."""

from __future__ import annotations

import pytest
import torch

from trainers.ganimation.networks import Discriminator, Generator, compose, initialise, saturate


def test_the_official_widths_have_the_official_keys_and_sizes() -> None:
    """53 keys and 8,471,296 parameters; 14 keys and 44,860,352."""
    with torch.device("meta"):
        generator, critic = Generator(), Discriminator()
    assert len(generator.state_dict()) == 53
    assert sum(one.numel() for one in generator.parameters()) == 8_471_296
    assert list(generator.state_dict())[:4] == [
        "main.0.weight", "main.1.weight", "main.1.bias", "main.3.weight",
    ]  # fmt: skip
    assert len(critic.state_dict()) == 14
    assert sum(one.numel() for one in critic.parameters()) == 44_860_352


def test_a_variant_has_its_own_keys() -> None:
    """Running statistics beside scale and shift; or neither of these, but biases in the trunk."""
    official, running, plain = (
        set(Generator(4, 3, 1, norm).state_dict())
        for norm in ("instance", "instance_running", "instance_plain")
    )
    assert running > official
    assert {name.rsplit(".", 1)[1] for name in running - official} == {
        "running_mean", "running_var", "num_batches_tracked",
    }  # fmt: skip
    assert "main.1.weight" not in plain
    assert {"main.0.bias", "main.9.main.3.bias"} <= plain - official


def test_only_running_statistics_make_eval_differ_from_train() -> None:
    """The official norm takes the picture's own statistics always."""
    x, c = torch.rand(2, 3, 16, 16), torch.rand(2, 3)
    for norm, differs in (("instance", False), ("instance_running", True)):
        network = Generator(4, 3, 1, norm)
        with torch.no_grad():
            trained, evaluated = network.train()(x, c)[0], network.eval()(x, c)[0]
        assert bool((trained - evaluated).abs().max() > 1e-3) is differs


def test_an_instance_norm_forgets_the_planes_that_scale_and_shift_keep() -> None:
    """Away from the border the official first layer answers other action units alike; without a norm it does not."""
    torch.manual_seed(0)
    x, units = torch.randn(1, 3, 48, 48), torch.zeros(2, 17)
    units[1, 8] = 1.0
    moved = {}
    for norm in ("instance", "none"):
        first = Generator(16, 17, 1, norm).main[:2]
        with torch.no_grad():
            planes = units[:, :, None, None].expand(-1, -1, 48, 48)
            quiet, smiling = first(torch.cat((x.expand(2, -1, -1, -1), planes), dim=1))
            moved[norm] = ((quiet - smiling)[:, 8:-8, 8:-8].abs().mean() / quiet.std()).item()
    assert moved["none"] > 4 * moved["instance"]


def test_without_a_norm_numbers_keep_their_size_on_the_way() -> None:
    """And the heads begin in the middle of their ranges."""
    torch.manual_seed(0)
    network = Generator(16, 17, 4, "none")
    initialise(network)
    with torch.no_grad():
        colour, attention = network(torch.randn(2, 3, 32, 32), torch.rand(2, 17))
        inner = network.main(torch.cat((torch.randn(2, 3, 32, 32), torch.rand(2, 17, 32, 32)), dim=1))
    assert 0.3 < inner.std().item() < 4.0
    assert colour.abs().mean().item() < 0.9
    assert 0.1 < attention.mean().item() < 0.9


@pytest.mark.parametrize("planes", ["constant", "regional"])
@pytest.mark.parametrize("norm", ["instance", "instance_plain", "instance_running", "none"])
def test_the_quick_way_gives_the_same(norm: str, planes: str) -> None:
    """On pictures that are not square, too; the border of the action units' planes included."""
    torch.manual_seed(3)
    network = Generator(6, 17, 2, norm, planes)
    for one in network.parameters():
        torch.nn.init.normal_(one, 0.0, 0.3)
    x, c = torch.randn(2, 3, 20, 28), torch.randn(2, 17)
    with torch.no_grad():
        for slow, quick in zip(network(x, c), network.quick(x, c)):
            assert torch.allclose(slow, quick, atol=1e-4)


def test_one_picture_keeps_its_batch_axis() -> None:
    """The official code drops it, and its loss then broadcasts."""
    scores, units = Discriminator(32, 4, 17, 3)(torch.rand(1, 3, 32, 32))
    assert scores.shape == (1, 1, 4, 4)
    assert units.shape == (1, 17)


def test_the_critic_follows_its_image_size() -> None:
    """The action units' head has the size of the last map; other pictures are refused, not judged wrongly."""
    critic = Discriminator(image_size=64, conv_dim=4, repeat_num=4)
    assert critic.conv2.kernel_size == (4, 4)
    with pytest.raises(ValueError, match="expected 64x64, got 32x32"):
        critic(torch.rand(1, 3, 32, 32))
    with pytest.raises(ValueError, match="multiple of 16"):
        Discriminator(image_size=72, conv_dim=4, repeat_num=4)


def test_a_regional_unit_is_seen_where_it_moves_something() -> None:
    """AU12 over the mouth and AU01 over the brows, and neither at the other's."""
    torch.manual_seed(0)
    network = Generator(8, 17, 0, "none", "regional")
    taken: list[torch.Tensor] = []
    network.main[0].register_forward_hook(lambda module, given, out: taken.append(out))
    units = torch.zeros(3, 17)
    units[1, 8] = units[2, 0] = 1.0
    with torch.no_grad():
        network(torch.randn(1, 3, 64, 64).expand(3, -1, -1, -1), units)
    smile, brows = ((one - taken[0][0]).abs().mean(dim=(0, 2)) for one in taken[0][1:])
    assert smile[:26].mean().item() < 0.05 * smile[40:56].mean().item()
    assert brows[40:].mean().item() < 0.05 * brows[12:26].mean().item()


def test_regional_planes_are_of_the_seventeen_units() -> None:
    """Another number has no places on the face."""
    with pytest.raises(ValueError, match="17 action units, got a c_dim of 5"):
        Generator(8, 5, 1, "none", "regional")


def test_an_unknown_norm_is_refused() -> None:
    """By name, with the ones that there are."""
    with pytest.raises(ValueError, match="instance_running"):
        Generator(norm="batch")  # type: ignore[arg-type]


def test_an_attention_of_one_keeps_the_source() -> None:
    """The polarity of the paper's second version and of its code."""
    source, colour = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    attention = torch.tensor([[1.0, 0.0], [0.25, 0.5]])[None, None]
    assert compose(source, colour, attention)[0, 0].tolist() == [[0.0, 1.0], [0.75, 0.5]]


def test_saturation_pushes_the_mask_apart() -> None:
    """Fixed at one half, clipped at both ends."""
    assert saturate(torch.tensor([0.0, 0.5, 1.0])).tolist() == pytest.approx([0.0, 0.5, 1.0], abs=1e-2)
    assert float(saturate(torch.tensor(0.8))) > 0.85


def test_only_convolutions_are_drawn_anew() -> None:
    """N(0, 0.02), biases 0; the norms keep scale 1 and shift 0."""
    torch.manual_seed(0)
    critic, generator = Discriminator(32, 16, 17, 3), Generator(16, 5, 1)
    initialise(critic), initialise(generator)
    assert critic.main[2].weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert critic.main[2].bias.abs().max().item() == 0.0
    assert generator.main[1].weight.min().item() == 1.0

"""MaskGAN's critic: the same patch critic on the picture and on its half, each with weights of its own."""

from __future__ import annotations

from torch import Tensor, nn

KERNEL, PADDING = 4, 2
WIDEST = 512


class MultiscaleCritic(nn.Module):
    """Official class `MultiscaleDiscriminator` with features and without sigmoid.

    inputs: planes of the layout and 3 colours. width: channels of the first layer (official ndf). layers: convolutions
    of stride 2. The official numbering is reversed: the full size is judged by the last scale's weights.
    """

    def __init__(self, inputs: int = 22, width: int = 64, layers: int = 3, scales: int = 2) -> None:
        super().__init__()
        self.layers, self.scales = layers, scales
        for scale in range(scales):
            for number, layer in enumerate(_patch_layers(inputs, width, layers)):
                self.add_module(f"scale{scale}_layer{number}", layer)
        self.halve = nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """Per scale, full size first: what each of layers + 1 blocks gives after its activation, then the raw scores
        (B, 1, h, w)."""
        found = []
        for scale in reversed(range(self.scales)):
            found.append(self._judge(scale, x))
            if scale:
                x = self.halve(x)
        return found

    def _judge(self, scale: int, x: Tensor) -> list[Tensor]:
        features = []
        for number in range(self.layers + 2):
            x = self.get_submodule(f"scale{scale}_layer{number}")(x)
            features.append(x)
        return features


def _patch_layers(inputs: int, width: int, layers: int) -> list[nn.Sequential]:
    def convolution(inner: int, outer: int, stride: int) -> nn.Conv2d:
        return nn.Conv2d(inner, outer, KERNEL, stride=stride, padding=PADDING)

    made = [nn.Sequential(convolution(inputs, width, 2), nn.LeakyReLU(0.2))]
    for stride in (*[2] * (layers - 1), 1):
        wide = min(2 * width, WIDEST)
        norm = nn.InstanceNorm2d(wide)
        made.append(nn.Sequential(convolution(width, wide, stride), norm, nn.LeakyReLU(0.2)))
        width = wide
    return [*made, nn.Sequential(convolution(width, 1, 1))]

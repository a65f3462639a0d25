"""MaskGAN: a face made from a drawn layout of its parts, in the style of another picture (Lee et al., CVPR 2020)."""

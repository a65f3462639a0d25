"""STIT, Stitch it in Time (Tzaban et al., SIGGRAPH Asia 2022): StyleGAN2 tuned to a person, and what encodes for it."""

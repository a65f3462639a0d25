"""Liquid Warping GAN with Attention: a person from one to eight photographs, moved by way of a mesh."""

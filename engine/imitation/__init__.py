"""Liquid Warping GAN off-line: bodies that do what a driver does, parts of other persons, and views from around."""

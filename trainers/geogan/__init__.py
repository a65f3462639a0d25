"""GeoGAN (AAAI 2019): an attribute of a donor's face, warped and blended onto a target's face."""

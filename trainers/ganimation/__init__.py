"""GANimation (Pumarola et al., ECCV 2018): a face and 17 action units in, a colour mask and an attention mask out."""

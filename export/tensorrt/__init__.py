"""Plans: a bundle's graphs, compiled by TensorRT. Nothing of TensorRT is imported before a plan is asked for."""

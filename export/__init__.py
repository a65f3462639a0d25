"""From trained or imported weights to graphs that the engine runs, and from model files to its cache."""

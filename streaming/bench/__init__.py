"""The live figures: a browser-to-browser call and the call through the engine, measured in one run."""

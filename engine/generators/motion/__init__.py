"""The driver's motion on another face: shared by the generators that move a portrait, whatever they draw it with."""

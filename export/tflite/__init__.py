"""TFLite to ONNX: opset 16, static shapes, float32 weights, ports named and laid out as in the file."""

from export.tflite.convert import convert

__all__ = ["convert"]

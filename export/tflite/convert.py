"""From the bytes of a TFLite file to an ONNX model."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import onnx

from engine.errors import ModelError
from export.tflite import mediapipe, operators
from export.tflite.arithmetic import Rule
from export.tflite.emitter import Emitter, Site, Value
from export.tflite.flatbuffer import Operator, read_model

_CUSTOM: Final = 32
_MUL: Final = 18
# What NumPy, struct and ONNX raise when the numbers of a damaged file do not fit each other.
_FAULTS: Final = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    MemoryError,
    struct.error,
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
)


def convert(data: bytes, title: str) -> onnx.ModelProto:
    """Converts a TFLite file.

    data: the file's bytes. title: the graph's name. The ports keep the names, the order (NHWC) and the shapes
    of the file. Raises ModelError when the file is damaged or holds an operator that is not converted.
    """
    model = read_model(data)
    emitter = Emitter(model)
    for index in model.inputs:
        emitter.values[index] = Value(native=emitter.tensor(index).name)
    for operator in model.operators:
        _emit(Site(emitter, operator))
    with _faults_as_errors("graph"):
        return emitter.finish(title)


def _emit(site: Site) -> None:
    operator = site.operator
    name, rule = _rule(operator)
    with _faults_as_errors(f"operator {name}"):
        if not (operator.code == _MUL and mediapipe.scale_affine(site)):
            rule(site)


@contextmanager
def _faults_as_errors(what: str) -> Iterator[None]:
    try:
        yield
    except _FAULTS as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"TFLite {what}: {reason}; the file is damaged or of another kind") from error


def _rule(operator: Operator) -> tuple[str, Rule]:
    if operator.code == _CUSTOM:
        rule = mediapipe.RULES.get((operator.name, operator.version))
        if rule is None:
            raise ModelError(f"TFLite operator {operator.name} version {operator.version} is not converted")
        return operator.name, rule
    if operator.code not in operators.RULES:
        raise ModelError(f"TFLite operator number {operator.code} is not converted")
    return operators.RULES[operator.code]

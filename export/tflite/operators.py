"""TFLite's built-in operators by number, and the rule that writes each as ONNX nodes."""

from __future__ import annotations

from typing import Final

from export.tflite import arithmetic, shaping, spatial
from export.tflite.arithmetic import Rule

RULES: Final[dict[int, tuple[str, Rule]]] = {
    0: ("ADD", arithmetic.binary("Add")),
    1: ("AVERAGE_POOL_2D", spatial.average_pool_2d),
    2: ("CONCATENATION", shaping.concatenation),
    3: ("CONV_2D", spatial.conv_2d),
    4: ("DEPTHWISE_CONV_2D", spatial.depthwise_conv_2d),
    5: ("DEPTH_TO_SPACE", spatial.depth_to_space),
    6: ("DEQUANTIZE", shaping.constant_only),
    9: ("FULLY_CONNECTED", arithmetic.fully_connected),
    14: ("LOGISTIC", arithmetic.unary("Sigmoid")),
    17: ("MAX_POOL_2D", spatial.max_pool_2d),
    18: ("MUL", arithmetic.binary("Mul")),
    19: ("RELU", arithmetic.unary("Relu")),
    21: ("RELU6", arithmetic.relu6),
    22: ("RESHAPE", shaping.reshape),
    23: ("RESIZE_BILINEAR", spatial.resize_bilinear),
    25: ("SOFTMAX", arithmetic.softmax),
    28: ("TANH", arithmetic.unary("Tanh")),
    34: ("PAD", spatial.pad),
    36: ("GATHER", shaping.gather),
    39: ("TRANSPOSE", shaping.transpose),
    40: ("MEAN", arithmetic.reducer("ReduceMean")),
    41: ("SUB", arithmetic.binary("Sub")),
    42: ("DIV", arithmetic.binary("Div")),
    43: ("SQUEEZE", shaping.reshape),
    45: ("STRIDED_SLICE", shaping.strided_slice),
    47: ("EXP", arithmetic.unary("Exp")),
    49: ("SPLIT", shaping.split),
    54: ("PRELU", spatial.prelu),
    55: ("MAXIMUM", arithmetic.binary("Max", fused=False)),
    57: ("MINIMUM", arithmetic.binary("Min", fused=False)),
    59: ("NEG", arithmetic.unary("Neg")),
    65: ("SLICE", shaping.plain_slice),
    70: ("EXPAND_DIMS", shaping.reshape),
    74: ("SUM", arithmetic.reducer("ReduceSum")),
    75: ("SQRT", arithmetic.unary("Sqrt")),
    76: ("RSQRT", arithmetic.rsqrt),
    78: ("POW", arithmetic.binary("Pow", fused=False)),
    82: ("REDUCE_MAX", arithmetic.reducer("ReduceMax")),
    83: ("PACK", shaping.pack),
    89: ("REDUCE_MIN", arithmetic.reducer("ReduceMin")),
    92: ("SQUARE", arithmetic.square),
    98: ("LEAKY_RELU", arithmetic.leaky_relu),
    99: ("SQUARED_DIFFERENCE", arithmetic.squared_difference),
    101: ("ABS", arithmetic.unary("Abs")),
    102: ("SPLIT_V", shaping.split_v),
    117: ("HARD_SWISH", arithmetic.unary("HardSwish")),
    124: ("DENSIFY", shaping.constant_only),
    126: ("BATCH_MATMUL", arithmetic.batch_matmul),
    150: ("GELU", arithmetic.gelu),
}
"""By the number of the built-in operator."""

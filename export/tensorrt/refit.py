"""Other weights for a plan that is there: milliseconds instead of a build.

Of a personalised generator only the weights differ. Its plan is that of the same graph, refitted, and goes live when it
answers the stored probe as its own ONNX file does. All of it but the weight map and the probe needs a GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import PlanError
from export.tensorrt.api import Lines, Toolkit, log_of
from export.tensorrt.build import check_driver
from export.tensorrt.versions import check_refit, keeps_refit
from export.tensorrt.weights import weight_map, with_weights

if TYPE_CHECKING:
    import tensorrt as trt


def refit_graph(base: bytes, other: bytes, name: str) -> bytes:
    """The plan's own graph with the weights of another file of it: what `refitted` is given.

    Both in the plan's precision. Raises PlanError where they are not one graph.
    """
    return with_weights(base, weight_map(base, other, name), name)


def refitted(toolkit: Toolkit, plan: bytes, graph: bytes, name: str) -> bytes:
    """The plan with the graph's weights, as bytes that any runtime of this GPU loads.

    plan: built with `refit`, stripped or not. graph: of refit_graph. From TensorRT 10.14 on the result can be refitted
    once more. Raises PlanError where the version is known to do it wrongly, there is no driver, the plan cannot be
    refitted, or some weight of it is not in the graph.
    """
    check_refit(toolkit)
    check_driver(toolkit, refit=True)
    with log_of(toolkit).listening() as lines:
        engine = _engine(toolkit, plan, name, lines)
        refit_engine(toolkit, engine, graph, name, lines)
        return _serialised(toolkit, engine)


def refit_engine(toolkit: Toolkit, engine: trt.ICudaEngine, graph: bytes, name: str, lines: Lines) -> None:
    """Exchanges the weights of an engine that no context runs. Raises PlanError, and the engine is then of no use."""
    if not engine.refittable:
        raise PlanError(f"plan {name} was not built for refit; run: marotte plan BUNDLE --refit")
    logger = log_of(toolkit).logger
    refitter = toolkit.api.Refitter(engine, logger)
    reader = toolkit.api.OnnxParserRefitter(refitter, logger)
    if not reader.refit_from_bytes(graph):
        told = [" ".join(reader.get_error(at).desc().split()) for at in range(reader.num_errors)]
        said = "; ".join(told) or lines.said("no reason given")
        raise PlanError(f"plan {name}: {toolkit.name} refused the weights: {said}; build it anew")
    if missing := refitter.get_missing_weights():
        raise PlanError(
            f"plan {name}: {len(missing)} of its weights are not in the graph, such as {missing[0]!r}; build it anew"
        )
    if not refitter.refit_cuda_engine():
        raise PlanError(
            f"plan {name}: {toolkit.name} did not refit: {lines.said('no reason given')}; build it anew"
        )


def _engine(toolkit: Toolkit, plan: bytes, name: str, lines: Lines) -> trt.ICudaEngine:
    runtime = toolkit.api.Runtime(log_of(toolkit).logger)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise PlanError(
            f"plan {name}: {toolkit.name} does not load it: {lines.said('no reason given')}; build it anew"
        )
    return engine


def _serialised(toolkit: Toolkit, engine: trt.ICudaEngine) -> bytes:
    """With its weights, also where the plan came without."""
    config = engine.create_serialization_config()
    config.clear_flag(toolkit.api.SerializationFlag.EXCLUDE_WEIGHTS)
    if keeps_refit(toolkit):
        config.set_flag(toolkit.api.SerializationFlag.INCLUDE_REFIT)
    return bytes(engine.serialize_with_config(config))

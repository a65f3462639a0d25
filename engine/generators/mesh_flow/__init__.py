"""mesh_flow, the default generator: training-free, on the CPU, out of the box."""

from engine.generators.mesh_flow.generator import MeshFlow
from engine.generators.mesh_flow.runner import MeshFlowRunner
from engine.generators.mesh_flow.warm import warm_up

__all__ = ["MeshFlow", "MeshFlowRunner", "warm_up"]

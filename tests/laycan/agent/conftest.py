"""The stand-in for NVML serves every test of the agent."""

from tests.nvml.standin import nvml, nvml_library

__all__ = ["nvml", "nvml_library"]

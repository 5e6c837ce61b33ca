"""The agent: one process on each node that measures its GPUs and says so in a GpuMeter."""

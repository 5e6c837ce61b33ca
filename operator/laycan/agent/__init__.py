"""The agent of one node: what NVML says of its GPUs, and what is written about it."""

"""Plans GPU forwards onto nodes. Pure: no Kubernetes, no I/O, no clock, no environment."""

"""A real Kubernetes control plane on loopback, without Docker: for the demo, the tests and `make up`.

The binaries are built from pinned Go modules (build.py), started and stopped by one small module (local.py), and given a fleet of GPU nodes
(fleet.py) whose kubelets KWOK plays (kwok/stages.yaml). Nothing here imports the product, and the product imports nothing from here.
"""

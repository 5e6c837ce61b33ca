"""Laycan: the delivery office of physical compute forwards."""

__version__ = "0.1.0"

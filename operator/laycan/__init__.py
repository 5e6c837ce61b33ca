"""Laycan: the delivery office of physical compute forwards."""

__version__ = "0.2.0"

"""The log of each exchange: what was said to it, in order, provable, and never changed."""

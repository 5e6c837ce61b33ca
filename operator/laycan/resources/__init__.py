"""The kinds of laycan.dev as pydantic models: the source of the CRDs, and what the rest of the operator knows about resources."""

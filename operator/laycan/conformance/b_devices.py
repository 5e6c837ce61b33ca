"""B1 to B7: single GPUs by dynamic resource allocation. Not run where the cluster gives no level Device."""

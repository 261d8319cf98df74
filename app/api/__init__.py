"""Both faces: the control plane under /v1, the data plane at the root. One module a resource."""

"""Names of the API group, and every label, annotation and topology key that Laycan reads or writes."""

from __future__ import annotations

GROUP = "laycan.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

# kind -> plural, as in the API's paths
PLURALS = {
    "ComputeContract": "computecontracts",
    "ContractInstruction": "contractinstructions",
    "ComputeProduct": "computeproducts",
    "ExchangeEndpoint": "exchangeendpoints",
    "Outage": "outages",
    "NodeFence": "nodefences",
    "LeaderEpoch": "leaderepochs",
    "GpuMeter": "gpumeters",
    "EvidenceBundle": "evidencebundles",
}
SINGLETON = "cluster"  # name of the one NodeFence and the one LeaderEpoch

FINALIZER = f"{GROUP}/delivery"  # an accepted contract is wound up before it vanishes

# labels
MANAGED_LABEL = f"{GROUP}/managed"  # on a node: "true" makes it part of the fleet
DESK_LABEL = f"{GROUP}/desk"  # on a handover namespace: the namespace whose contracts may be delivered there
CONTRACT_LABEL = f"{GROUP}/contract"  # on a ResourceClaim: uid of the contract that it delivers
HOLDER_LABEL = "laycan.node-restriction.kubernetes.io/holder"  # on a node: its owner; kubelets cannot write it
HANDOVER_VALUE = (
    "handover.gpus"  # of the holder label, on a node without owner: new pods of others wait until certain GPUs have changed hands
)

# annotations
PLACEMENT_ANNOTATION = f"{GROUP}/placement"  # on a pod: "held" steers it to its namespace's nodes although it asks for no GPU
CONFIRM_DELETE_ANNOTATION = f"{GROUP}/confirm-delete"  # on a contract: its contractId lets it be deleted while commitments run
TERMS_DIGEST_ANNOTATION = f"{GROUP}/terms-digest"  # on a contract: what the digest of its terms must be for it to be accepted
PAUSE_ANNOTATION = f"{GROUP}/paused"  # on a contract, a node or NodeFence/cluster: "true" stops Laycan's writes about it
POWERED_OFF_ANNOTATION = f"{GROUP}/powered-off"  # on a node: when its power was confirmed to be off; its pods may then be declared dead
BREAKER_RESET_ANNOTATION = f"{GROUP}/breaker-reset"  # on NodeFence/cluster: failures before that instant are given up, however many
AUTOSCALERS_ANNOTATION = f"{GROUP}/kept-from-autoscalers"  # on a node: which annotations against autoscalers are ours, not an admin's
TAKEN_ANNOTATION = f"{GROUP}/taken-at"  # on the List of a snapshot: when the cluster was read
DRAINS_ANNOTATION = f"{GROUP}/drain-seconds"  # on NodeFence/cluster: how long the latest drains took, oldest first
AGENT_STATE_ANNOTATION = f"{GROUP}/agent-state"  # on a GpuMeter: the counters that its agent goes on from after a restart

OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"  # taint by which Kubernetes lets go of a dead node's pods

GPU_RESOURCE = "nvidia.com/gpu"
GRADE_LABEL = "nvidia.com/gpu.product"
SHARING_LABEL = "nvidia.com/gpu.sharing-strategy"
REPLICAS_LABEL = "nvidia.com/gpu.replicas"
MIG_RESOURCE_PREFIX = "nvidia.com/mig-"
GPU_DRIVER = "gpu.nvidia.com"  # of the ResourceSlices that list a node's GPUs

# Levels of topology from outside in -> label keys, of which the first present counts.
TOPOLOGY_LABELS: dict[str, tuple[str, ...]] = {
    "Zone": ("topology.kubernetes.io/zone",),
    "Fabric": ("network.topology.nvidia.com/spine", "fabric.topograph.run/tier-1"),
    "Rack": ("network.topology.nvidia.com/leaf", "fabric.topograph.run/tier-0"),
    "NVLinkDomain": ("nvidia.com/gpu.clique", "network.topology.nvidia.com/accelerator", "accelerator.topograph.run/domain"),
}

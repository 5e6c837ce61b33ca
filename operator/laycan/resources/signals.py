"""What can be found of a GPU. Apart from the models, so that an agent need not load them."""

from __future__ import annotations

from enum import StrEnum

SLOWDOWN_SECONDS = 300  # the stretches, aligned to the Unix clock, of which the share under slowdown is told once they are over


class Signal(StrEnum):
    """`code` and `value` of a finding are of the meaning given here, 0 where none is."""

    MISSING = "Missing"  # not enumerated, or lost: NVML_ERROR_GPU_IS_LOST
    UNREADABLE = "Unreadable"  # there, but NVML answers nothing about it
    XID = "Xid"  # code: the XID; until the GPU is reset
    RECOVERY_ACTION = "RecoveryAction"  # code: NVML_FI_DEV_GET_GPU_RECOVERY_ACTION
    UNCORRECTABLE_ECC = "UncorrectableEcc"  # value: volatile uncorrectable errors
    ROW_REMAP_PENDING = "RowRemapPending"
    ROW_REMAP_FAILED = "RowRemapFailed"
    NVLINK_DOWN = "NvLinkDown"  # value: links that are down and were up
    FABRIC_NOT_READY = "FabricNotReady"  # code: nvmlGpuFabricState_t; value: its status
    SLOWDOWN = "Slowdown"  # value: ppm of the stretch under hardware thermal or power-brake slowdown
    PCIE_DEGRADED = "PcieDegraded"  # value: lanes, code: generation; below maximum under load

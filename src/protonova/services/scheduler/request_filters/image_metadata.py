"""Devices and machines that an image wants of its guest, as traits of hosts that can make them."""

from __future__ import annotations

from protonova.services.scheduler.request_filters.query import Query

_TRAITS = {
    "hw_architecture": "HW_ARCH",
    "hw_cdrom_bus": "COMPUTE_STORAGE_BUS",
    "hw_disk_bus": "COMPUTE_STORAGE_BUS",
    "hw_emulation_architecture": "COMPUTE_ARCH",
    "hw_video_model": "COMPUTE_GRAPHICS_MODEL",
    "hw_vif_model": "COMPUTE_NET_VIF_MODEL",
    "hw_viommu_model": "COMPUTE_VIOMMU_MODEL",
}


def image_metadata(query: Query) -> None:
    if not query.conf.scheduler.image_metadata_prefilter:
        return
    for key, prefix in _TRAITS.items():
        if value := query.spec.image.properties.get(key, "").strip():
            query.root_traits.add(f"{prefix}_{value.upper().replace('-', '_')}")

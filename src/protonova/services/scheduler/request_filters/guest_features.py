"""What a guest is to have that not every host can give: each is a trait."""

from __future__ import annotations

from protonova.services.scheduler.request_filters.query import Query


def accelerators(query: Query) -> None:
    if query.spec.flavor.extra_specs.get("accel:device_profile"):
        query.root_traits.add("COMPUTE_ACCELERATORS")


def packed_virtqueue(query: Query) -> None:
    if query.is_true("hw:virtio_packed_ring"):
        query.root_traits.add("COMPUTE_NET_VIRTIO_PACKED")


def ephemeral_encryption(query: Query) -> None:
    """Any format will do where none is named."""
    if query.is_true("hw:ephemeral_encryption"):
        name = query.extra_spec("hw:ephemeral_encryption_format").strip()
        query.root_traits.add("COMPUTE_EPHEMERAL_ENCRYPTION" + (f"_{name.upper()}" if name else ""))


def virtio_sound(query: Query) -> None:
    if query.extra_spec("hw:sound_model") == "virtio":
        query.root_traits.add("COMPUTE_SOUND_MODEL_VIRTIO")


def tpm_secret_security(query: Query) -> None:
    """Of an emulated TPM: who can read its secret."""
    if query.extra_spec("hw:tpm_version"):
        mode = query.spec.flavor.extra_specs.get("hw:tpm_secret_security") or "user"
        query.root_traits.add(f"COMPUTE_SECURITY_TPM_SECRET_SECURITY_{mode.upper()}")

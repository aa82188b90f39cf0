"""QEMU guests under libvirt. `driver` and `connection` need libvirt's Python binding, the rest does not."""

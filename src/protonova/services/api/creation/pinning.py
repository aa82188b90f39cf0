"""Which CPUs of a guest are dedicated, which run in real time, and by which policies."""

from __future__ import annotations

from dataclasses import dataclass

from protonova.common.v1 import numa_pb2 as pb
from protonova.services.api.creation.specs import Specs, refuse

_CPU = {"shared": pb.CPU_POLICY_SHARED, "dedicated": pb.CPU_POLICY_DEDICATED, "mixed": pb.CPU_POLICY_MIXED}
_THREADS = {
    "prefer": pb.CPU_THREAD_POLICY_PREFER,
    "isolate": pb.CPU_THREAD_POLICY_ISOLATE,
    "require": pb.CPU_THREAD_POLICY_REQUIRE,
}
_EMULATOR = {
    "share": pb.EMULATOR_THREADS_POLICY_SHARE,
    "isolate": pb.EMULATOR_THREADS_POLICY_ISOLATE,
}
_TRUE = frozenset(("1", "t", "true", "on", "y", "yes"))
_HYPERTHREADING = "trait:HW_CPU_HYPERTHREADING"


@dataclass(frozen=True, slots=True)
class Policies:
    """`realtime` CPUs are among the `dedicated` ones."""

    cpu: pb.CpuPolicy.ValueType
    threads: pb.CpuThreadPolicy.ValueType
    emulator: pb.EmulatorThreadsPolicy.ValueType
    dedicated: frozenset[int]
    realtime: frozenset[int]


def read(specs: Specs, vcpus: int) -> Policies:
    """Raises NUMA_INVALID."""
    emulator = _emulator(specs)
    cpu = _cpu(specs, vcpus, emulator)
    threads = _threads(specs)
    mask = specs.flavor("cpu_dedicated_mask")
    realtime = _realtime(specs, vcpus, cpu, emulator)
    dedicated: frozenset[int] = frozenset()
    if cpu == pb.CPU_POLICY_DEDICATED:
        dedicated = frozenset(range(vcpus))
    elif cpu == pb.CPU_POLICY_MIXED:
        dedicated = _mixed(specs, mask, realtime, vcpus)
    else:
        _check_shared(specs, threads, emulator)
    if mask and cpu != pb.CPU_POLICY_MIXED:
        refuse("hw:cpu_dedicated_mask", "it is for the CPU policy 'mixed' only")
    return Policies(cpu, threads, emulator, dedicated, realtime)


def _cpu(specs: Specs, vcpus: int, emulator: pb.EmulatorThreadsPolicy.ValueType) -> pb.CpuPolicy.ValueType:
    own = specs.choice("hw:cpu_policy", specs.flavor("cpu_policy"), _CPU)
    image = specs.choice("hw_cpu_policy", specs.image("cpu_policy"), _CPU)
    clash = {
        pb.CPU_POLICY_SHARED: (pb.CPU_POLICY_DEDICATED, pb.CPU_POLICY_MIXED),
        pb.CPU_POLICY_MIXED: (pb.CPU_POLICY_DEDICATED,),
    }
    if image in clash.get(own, ()):  # type: ignore[call-overload]
        refuse(
            "hw_cpu_policy", f"an image cannot ask for more than hw:cpu_policy, {specs.flavor('cpu_policy')}"
        )
    found = pb.CpuPolicy.ValueType(own or image)
    return _from_resources(specs, vcpus, emulator, found)


def _from_resources(
    specs: Specs,
    vcpus: int,
    emulator: pb.EmulatorThreadsPolicy.ValueType,
    found: pb.CpuPolicy.ValueType,
) -> pb.CpuPolicy.ValueType:
    """A flavor may ask for PCPU as a resource instead of naming a policy."""
    asked = {
        name: specs.extra_specs[f"resources:{name}"].strip()
        for name in ("VCPU", "PCPU")
        if specs.extra_specs.get(f"resources:{name}", "0").strip() != "0"
    }
    if not asked:
        return found
    key = f"resources:{next(iter(asked))}"
    if found:
        refuse(key, f"it cannot be used beside {specs.key_of('cpu_policy')}")
    if len(asked) > 1:
        refuse("resources:PCPU", "it cannot be used beside resources:VCPU")
    if "PCPU" not in asked:
        return found
    expected = vcpus + (emulator == pb.EMULATOR_THREADS_POLICY_ISOLATE)
    if specs.number(key, asked["PCPU"], least=1) != expected:
        refuse(key, f"the flavor takes {expected} dedicated CPUs, {asked['PCPU']} are asked for")
    return pb.CPU_POLICY_DEDICATED


def _threads(specs: Specs) -> pb.CpuThreadPolicy.ValueType:
    own = specs.choice("hw:cpu_thread_policy", specs.flavor("cpu_thread_policy"), _THREADS)
    image = specs.choice("hw_cpu_thread_policy", specs.image("cpu_thread_policy"), _THREADS)
    if own not in (0, pb.CPU_THREAD_POLICY_PREFER) and image not in (0, own):
        refuse(
            "hw_cpu_thread_policy",
            f"an image cannot change hw:cpu_thread_policy, which is {specs.flavor('cpu_thread_policy')}",
        )
    found = pb.CpuThreadPolicy.ValueType(image or own)
    trait = specs.extra_specs.get(_HYPERTHREADING) or specs.properties.get(_HYPERTHREADING, "")
    if not trait:
        return found
    if found:
        refuse(_HYPERTHREADING, f"it cannot be used beside {specs.key_of('cpu_thread_policy')}")
    words = {
        "required": pb.CPU_THREAD_POLICY_REQUIRE,
        "forbidden": pb.CPU_THREAD_POLICY_ISOLATE,
    }
    return words.get(trait, pb.CPU_THREAD_POLICY_UNSPECIFIED)


def _emulator(specs: Specs) -> pb.EmulatorThreadsPolicy.ValueType:
    """A flavor's alone."""
    key = "hw:emulator_threads_policy"
    found = specs.choice(key, specs.flavor("emulator_threads_policy"), _EMULATOR)
    return pb.EmulatorThreadsPolicy.ValueType(found)


def _realtime(
    specs: Specs,
    vcpus: int,
    cpu: pb.CpuPolicy.ValueType,
    emulator: pb.EmulatorThreadsPolicy.ValueType,
) -> frozenset[int]:
    """A flavor wants it; the image may say for which CPUs. An ordinary CPU must be left, on which the emulator's
    threads run, unless a policy names another place for these."""
    if specs.flavor("cpu_realtime").lower() not in _TRUE:
        return frozenset()
    if cpu not in (pb.CPU_POLICY_DEDICATED, pb.CPU_POLICY_MIXED):
        refuse("hw:cpu_realtime", "real-time CPUs need the CPU policy 'dedicated' or 'mixed'")
    image = specs.image("cpu_realtime_mask")
    mask, key = (image, "hw_cpu_realtime_mask") if image else (
        specs.flavor("cpu_realtime_mask"), "hw:cpu_realtime_mask"
    )  # fmt: skip
    if not mask:
        if emulator and cpu == pb.CPU_POLICY_DEDICATED:
            return frozenset(range(vcpus))
        if cpu == pb.CPU_POLICY_MIXED and specs.flavor("cpu_dedicated_mask"):
            refuse(
                "hw:cpu_realtime",
                "it cannot be used beside hw:cpu_dedicated_mask: a mask of its own says both",
            )
        refuse(key, "a mask must name the real-time CPUs, or hw:emulator_threads_policy where others run")
    found = frozenset(specs.cpu_set(key, mask, vcpus))
    if not found:
        refuse(key, f"'{mask}' leaves no real-time CPU")
    if len(found) == vcpus and not emulator:
        refuse(key, f"'{mask}' leaves no ordinary CPU, and no policy says where the emulator's threads run")
    return found


def _mixed(specs: Specs, mask: str, realtime: frozenset[int], vcpus: int) -> frozenset[int]:
    if bool(mask) == bool(realtime):
        refuse(
            "hw:cpu_dedicated_mask",
            "the CPU policy 'mixed' needs either this or hw:cpu_realtime with a mask, to tell which are dedicated",
        )
    found = realtime or frozenset(specs.cpu_set("hw:cpu_dedicated_mask", mask, vcpus))
    if not 0 < len(found) < vcpus:
        key = "hw:cpu_dedicated_mask" if mask else "hw:cpu_realtime_mask"
        refuse(key, f"of a mixed guest some CPUs are dedicated, not {len(found)} of {vcpus}")
    return found


def _check_shared(
    specs: Specs,
    threads: pb.CpuThreadPolicy.ValueType,
    emulator: pb.EmulatorThreadsPolicy.ValueType,
) -> None:
    named = specs.flavor("cpu_thread_policy") or specs.image("cpu_thread_policy")
    if threads and named:
        refuse(
            specs.key_of("cpu_thread_policy"), "a thread policy needs the CPU policy 'dedicated' or 'mixed'"
        )
    if emulator == pb.EMULATOR_THREADS_POLICY_ISOLATE:
        refuse("hw:emulator_threads_policy", "'isolate' needs the CPU policy 'dedicated' or 'mixed'")

#include "kvm_cpuid.h"

#include "sys.h"

namespace trapline {

Cpuid::Cpuid(std::size_t capacity)
    : storage_(std::make_unique<std::uint64_t[]>((sizeof(KvmListHead) + capacity * sizeof(kvm_cpuid_entry2) + 7) / 8)) {
  head()->count = static_cast<std::uint32_t>(capacity);
}

Cpuid SupportedCpuid(int kvm) {
  // E2BIG says that the list is longer and nothing else; the kernel's own limit is 256 entries.
  for (std::size_t capacity = 64; capacity <= 4096; capacity *= 2) {
    Cpuid cpuid(capacity);
    if (::ioctl(kvm, kvm_ioctl::kGetSupportedCpuid, cpuid.head()) == 0) return cpuid;
    if (errno != E2BIG) throw SysError("KVM_GET_SUPPORTED_CPUID", errno);
  }
  throw SysError("KVM_GET_SUPPORTED_CPUID", E2BIG);
}

unsigned PhysicalAddressBits(const Cpuid& cpuid) {
  for (const kvm_cpuid_entry2& entry : cpuid) {
    if (entry.function == 0x80000008 && (entry.eax & 0xff) != 0) return entry.eax & 0xff;
  }
  return 36;  // what the architecture says where the leaf is absent
}

void SetGuestCpuid(int vcpu, const Cpuid& supported) {
  for (kvm_cpuid_entry2& entry : supported) {
    if (entry.function == 1) {
      // Bits 31:24 initial APIC id, 23:16 logical processors: one CPU, number 0. The list describes the host's.
      entry.ebx = (entry.ebx & 0x0000ffff) | (1u << 16);
      // KVM leaves this to the VMM; without it Linux ignores the hypervisor's leaves.
      entry.ecx |= 1u << 31;
    }
    // Extended topology: x2APIC id 0.
    if (entry.function == 0xb || entry.function == 0x1f) entry.edx = 0;
  }
  Check(::ioctl(vcpu, kvm_ioctl::kSetCpuid2, supported.head()), "KVM_SET_CPUID2");
}

}  // namespace trapline

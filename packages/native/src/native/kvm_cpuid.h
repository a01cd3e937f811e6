// The CPU the guest sees: everything KVM can do, its own number, and the bit that says there is a hypervisor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "kvm_abi.h"

namespace trapline {

/** A `struct kvm_cpuid2`: head and entries in one piece. */
class Cpuid {
 public:
  explicit Cpuid(std::size_t capacity);
  KvmListHead* head() const { return reinterpret_cast<KvmListHead*>(storage_.get()); }
  kvm_cpuid_entry2* begin() const { return reinterpret_cast<kvm_cpuid_entry2*>(head() + 1); }
  kvm_cpuid_entry2* end() const { return begin() + head()->count; }

 private:
  std::unique_ptr<std::uint64_t[]> storage_;
};

/** @param kvm the descriptor of /dev/kvm */
Cpuid SupportedCpuid(int kvm);
unsigned PhysicalAddressBits(const Cpuid& cpuid);
/** What vCPU `index` of `count` is told: one package, one thread for each core, APIC id = index. */
Cpuid GuestCpuid(const Cpuid& supported, unsigned index, unsigned count);
void SetCpuid(int vcpu, const Cpuid& cpuid);

}  // namespace trapline

// One KVM virtual machine: its descriptor, memory slots, interrupt controllers and interrupt injection.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <mutex>
#include <string>

#include "guest_ram.h"
#include "kvm_abi.h"
#include "sys.h"

namespace trapline {

/** What a look at a KVM device told, without creating anything. */
struct KvmFacts {
  /** 0, or the errno of `open`. */
  int open_error = 0;
  /** The API version, or minus the errno of asking. */
  int api_version = 0;
  /** The first capability we need and KVM lacks, or null. */
  const char* missing = nullptr;
  /** Width of a guest-physical address. */
  unsigned physical_bits = 36;
};

KvmFacts ProbeKvm(const std::string& device);

class KvmVm {
 public:
  /** Inputs of the in-kernel PIC and I/O APIC. */
  static constexpr unsigned kIrqLines = 24;

  /** Creates the VM with its interrupt controllers and gives it `ram`, which must outlive it. */
  KvmVm(const std::string& device, const GuestRam& ram);

  int system_fd() const { return kvm_.get(); }
  int fd() const { return vm_.get(); }
  int vcpu_mmap_size() const { return vcpu_mmap_size_; }

  /** Level of one interrupt line. On any thread. */
  void SetIrqLine(unsigned gsi, bool level);
  void SignalMsi(std::uint64_t address, std::uint32_t data);
  /** Interrupt controllers as they were created; lines that are driven now stay driven. On any thread, no vCPU running. */
  void ResetIrqChips();
  /** Idempotent; the vCPUs must be gone. */
  void Close();

 private:
  void DriveLine(unsigned gsi, bool level);

  UniqueFd kvm_;
  UniqueFd vm_;
  int vcpu_mmap_size_ = 0;
  /** A line may change while the controllers are reset, on another thread. */
  std::mutex lines_mutex_;
  std::bitset<kIrqLines> lines_;
  /** Master PIC, slave PIC, I/O APIC. */
  std::array<kvm_irqchip, 3> initial_chips_{};
};

}  // namespace trapline

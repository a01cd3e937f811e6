// Everything a vCPU is made of, taken once at creation and put back at reset.
#pragma once

#include <cstdint>
#include <vector>

#include "kvm_abi.h"

namespace trapline {

/** The registers of one vCPU. */
class VcpuState {
 public:
  /** Reads the state of a vCPU that is not running. @param kvm the descriptor of /dev/kvm */
  static VcpuState Save(int kvm, int vcpu);
  void Restore(int vcpu) const;

  /** First instruction in 16-bit real mode at 0:`address`, flags clear. */
  void EnterRealMode(std::uint16_t address);

 private:
  kvm_regs regs_{};
  kvm_sregs sregs_{};
  /** Where KVM has it, it covers the FPU and all later vector state. */
  KvmXsave xsave_{};
  bool has_xsave_ = false;
  kvm_fpu fpu_{};
  kvm_xcrs xcrs_{};
  bool has_xcrs_ = false;
  kvm_debugregs debug_{};
  kvm_vcpu_events events_{};
  kvm_mp_state mp_{};
  kvm_lapic_state lapic_{};
  std::vector<kvm_msr_entry> msrs_;
};

}  // namespace trapline

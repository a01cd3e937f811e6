#include "kvm_state.h"

#include "sys.h"

namespace trapline {

namespace {

/** `struct kvm_msr_list`, without its count. */
std::vector<std::uint32_t> MsrIndices(int kvm) {
  std::uint32_t count = 0;
  // Fails with E2BIG and tells the count.
  if (::ioctl(kvm, kvm_ioctl::kGetMsrIndexList, &count) < 0 && errno != E2BIG) {
    throw SysError("KVM_GET_MSR_INDEX_LIST", errno);
  }
  std::vector<std::uint32_t> list(1 + count);
  list[0] = count;
  Check(::ioctl(kvm, kvm_ioctl::kGetMsrIndexList, list.data()), "KVM_GET_MSR_INDEX_LIST");
  list.erase(list.begin());
  return list;
}

}  // namespace

VcpuState VcpuState::Save(int kvm, int vcpu) {
  VcpuState s;
  Check(::ioctl(vcpu, KVM_GET_REGS, &s.regs_), "KVM_GET_REGS");
  Check(::ioctl(vcpu, KVM_GET_SREGS, &s.sregs_), "KVM_GET_SREGS");
  s.has_xsave_ = ::ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE) > 0;
  if (s.has_xsave_) {
    Check(::ioctl(vcpu, kvm_ioctl::kGetXsave, &s.xsave_), "KVM_GET_XSAVE");
  } else {
    Check(::ioctl(vcpu, KVM_GET_FPU, &s.fpu_), "KVM_GET_FPU");
  }
  s.has_xcrs_ = ::ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_XCRS) > 0;
  if (s.has_xcrs_) Check(::ioctl(vcpu, KVM_GET_XCRS, &s.xcrs_), "KVM_GET_XCRS");
  Check(::ioctl(vcpu, KVM_GET_DEBUGREGS, &s.debug_), "KVM_GET_DEBUGREGS");
  Check(::ioctl(vcpu, KVM_GET_VCPU_EVENTS, &s.events_), "KVM_GET_VCPU_EVENTS");
  Check(::ioctl(vcpu, KVM_GET_MP_STATE, &s.mp_), "KVM_GET_MP_STATE");
  Check(::ioctl(vcpu, KVM_GET_LAPIC, &s.lapic_), "KVM_GET_LAPIC");
  for (const std::uint32_t index : MsrIndices(kvm)) {
    // One at a time: KVM stops a list at the first MSR it refuses.
    KvmOneMsr one;
    one.entry.index = index;
    if (::ioctl(vcpu, kvm_ioctl::kGetMsrs, &one) == 1) s.msrs_.push_back(one.entry);
  }
  return s;
}

void VcpuState::EnterRealMode(std::uint16_t address) {
  // Out of reset a CPU starts at f000:fff0 with a base of 0xffff0000; a flat guest starts at its own address.
  sregs_.cs.selector = 0;
  sregs_.cs.base = 0;
  regs_ = kvm_regs{};
  regs_.rip = address;
  regs_.rflags = 2;  // bit 1 is always set
}

void VcpuState::Restore(int vcpu) const {
  // Control registers and MSRs before what depends on them; the local APIC after SREGS, which carries its base.
  kvm_sregs sregs = sregs_;
  // After a shutdown KVM on AMD has cleared the VMCB, and with it the root of the nested page tables, which it sets
  // again only where the MMU changes. Without paging nothing would: so CR0.WP changes, there and back.
  sregs.cr0 ^= 1u << 16;
  Check(::ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
  sregs = sregs_;
  Check(::ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
  for (const kvm_msr_entry& entry : msrs_) {
    KvmOneMsr one;
    one.entry = entry;
    // Some MSRs can be read and not written; none of those can have changed.
    (void)::ioctl(vcpu, kvm_ioctl::kSetMsrs, &one);
  }
  kvm_lapic_state lapic = lapic_;
  Check(::ioctl(vcpu, KVM_SET_LAPIC, &lapic), "KVM_SET_LAPIC");
  if (has_xcrs_) {
    kvm_xcrs xcrs = xcrs_;
    Check(::ioctl(vcpu, KVM_SET_XCRS, &xcrs), "KVM_SET_XCRS");
  }
  if (has_xsave_) {
    KvmXsave xsave = xsave_;
    Check(::ioctl(vcpu, kvm_ioctl::kSetXsave, &xsave), "KVM_SET_XSAVE");
  } else {
    kvm_fpu fpu = fpu_;
    Check(::ioctl(vcpu, KVM_SET_FPU, &fpu), "KVM_SET_FPU");
  }
  kvm_debugregs debug = debug_;
  Check(::ioctl(vcpu, KVM_SET_DEBUGREGS, &debug), "KVM_SET_DEBUGREGS");
  kvm_mp_state mp = mp_;
  Check(::ioctl(vcpu, KVM_SET_MP_STATE, &mp), "KVM_SET_MP_STATE");
  kvm_vcpu_events events = events_;
  Check(::ioctl(vcpu, KVM_SET_VCPU_EVENTS, &events), "KVM_SET_VCPU_EVENTS");
  kvm_regs regs = regs_;
  Check(::ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

}  // namespace trapline

#include "kvm_vm.h"

#include <fcntl.h>

#include "kvm_cpuid.h"

namespace trapline {

namespace {

// Intel CPUs without "unrestricted guest" run real mode in a task of KVM's own making: it needs three pages for
// a TSS and one for a page table, guest-physical, where no RAM and no device is. Linux documents this place.
constexpr std::uint64_t kIdentityMapAddress = 0xfffbc000;
constexpr std::uint64_t kTssAddress = 0xfffbd000;

struct Capability {
  int number;
  const char* name;
};
constexpr Capability kNeeded[] = {
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    {KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
    {KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR"},
    {KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
    {KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE"},
    {KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
    {KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"},
    {KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
};

}  // namespace

KvmFacts ProbeKvm(const std::string& device) {
  KvmFacts facts;
  UniqueFd kvm(::open(device.c_str(), O_RDWR | O_CLOEXEC));
  if (!kvm) {
    facts.open_error = errno;
    return facts;
  }
  facts.api_version = ::ioctl(kvm.get(), KVM_GET_API_VERSION, 0);
  if (facts.api_version < 0) facts.api_version = -errno;
  if (facts.api_version != KVM_API_VERSION) return facts;
  for (const Capability& need : kNeeded) {
    if (::ioctl(kvm.get(), KVM_CHECK_EXTENSION, need.number) > 0) continue;
    facts.missing = need.name;
    return facts;
  }
  facts.physical_bits = PhysicalAddressBits(SupportedCpuid(kvm.get()));
  return facts;
}

KvmVm::KvmVm(const std::string& device, const GuestRam& ram)
    : kvm_(Check(::open(device.c_str(), O_RDWR | O_CLOEXEC), "open")) {
  vm_ = UniqueFd(Check(::ioctl(kvm_.get(), KVM_CREATE_VM, 0), "KVM_CREATE_VM"));
  vcpu_mmap_size_ = Check(::ioctl(kvm_.get(), KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
  std::uint64_t identity = kIdentityMapAddress;
  Check(::ioctl(vm_.get(), KVM_SET_IDENTITY_MAP_ADDR, &identity), "KVM_SET_IDENTITY_MAP_ADDR");
  Check(::ioctl(vm_.get(), KVM_SET_TSS_ADDR, kTssAddress), "KVM_SET_TSS_ADDR");
  Check(::ioctl(vm_.get(), KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
  for (unsigned chip = 0; chip < initial_chips_.size(); chip++) {
    initial_chips_[chip].chip_id = chip;
    Check(::ioctl(vm_.get(), KVM_GET_IRQCHIP, &initial_chips_[chip]), "KVM_GET_IRQCHIP");
  }
  std::uint32_t slot = 0;
  for (const RamRegion& region : ram.regions()) {
    kvm_userspace_memory_region memory{};
    memory.slot = slot++;
    memory.guest_phys_addr = region.guest;
    memory.memory_size = region.size;
    memory.userspace_addr = reinterpret_cast<std::uintptr_t>(ram.data() + region.offset);
    Check(::ioctl(vm_.get(), KVM_SET_USER_MEMORY_REGION, &memory), "KVM_SET_USER_MEMORY_REGION");
  }
}

void KvmVm::SetIrqLine(unsigned gsi, bool level) {
  if (gsi >= kIrqLines) throw SysError("KVM_IRQ_LINE", EINVAL);
  std::lock_guard lock(lines_mutex_);
  lines_[gsi] = level;
  DriveLine(gsi, level);
}

void KvmVm::DriveLine(unsigned gsi, bool level) {
  kvm_irq_level line{};
  line.irq = gsi;
  line.level = level ? 1 : 0;
  Check(::ioctl(vm_.get(), KVM_IRQ_LINE, &line), "KVM_IRQ_LINE");
}

void KvmVm::SignalMsi(std::uint64_t address, std::uint32_t data) {
  kvm_msi msi{};
  msi.address_lo = static_cast<std::uint32_t>(address);
  msi.address_hi = static_cast<std::uint32_t>(address >> 32);
  msi.data = data;
  // 0 means that no local APIC took it (masked by the guest), which real hardware would not report either.
  Check(::ioctl(vm_.get(), KVM_SIGNAL_MSI, &msi), "KVM_SIGNAL_MSI");
}

void KvmVm::ResetIrqChips() {
  // The registers alone do not say which inputs are high; KVM keeps that beside them. So: everything low, the
  // registers as created, and then the edges of the lines that are driven.
  std::lock_guard lock(lines_mutex_);
  for (unsigned gsi = 0; gsi < kIrqLines; gsi++) DriveLine(gsi, false);
  for (kvm_irqchip& chip : initial_chips_) Check(::ioctl(vm_.get(), KVM_SET_IRQCHIP, &chip), "KVM_SET_IRQCHIP");
  for (unsigned gsi = 0; gsi < kIrqLines; gsi++) {
    if (lines_[gsi]) DriveLine(gsi, true);
  }
}

void KvmVm::Close() {
  vm_.Reset();
  kvm_.Reset();
}

}  // namespace trapline

// <linux/kvm.h> for C++. Structs with a flexible array at their end cannot be used from it: several releases of the
// kernel's headers declare such arrays behind an empty struct, which has no size in C and one byte in C++. Offsets
// and sizes are then wrong, and so are the ioctl numbers, which contain the size. Here are those we use, by the
// sizes the kernel has; the headers' own are not to be touched.
#pragma once

#include <cstdint>

#include <linux/kvm.h>
#include <sys/ioctl.h>

namespace trapline {

/** `struct kvm_cpuid2`, `kvm_msrs`: a count and padding; entries follow. */
struct KvmListHead {
  std::uint32_t count = 0;
  std::uint32_t pad = 0;
};
static_assert(sizeof(KvmListHead) == 8 && sizeof(kvm_cpuid_entry2) == 40 && sizeof(kvm_msr_entry) == 16);

/** `struct kvm_msrs` with one entry. */
struct KvmOneMsr {
  KvmListHead head{1, 0};
  kvm_msr_entry entry{};
};
static_assert(sizeof(KvmOneMsr) == 24);

/** `struct kvm_signal_mask` with the kernel's signal set, which has 64 bits and is not aligned here. */
struct KvmSignalMask {
  std::uint32_t length = 8;
  unsigned char set[8] = {};
};
static_assert(sizeof(KvmSignalMask) == 12);

/** `struct kvm_xsave` without what dynamically enabled features add. */
struct KvmXsave {
  std::uint32_t region[1024] = {};
};

namespace kvm_ioctl {
inline constexpr unsigned kInOut = _IOC_READ | _IOC_WRITE;
inline constexpr unsigned long kGetMsrIndexList = _IOC(kInOut, KVMIO, 0x02, 4);
inline constexpr unsigned long kGetSupportedCpuid = _IOC(kInOut, KVMIO, 0x05, sizeof(KvmListHead));
inline constexpr unsigned long kGetMsrs = _IOC(kInOut, KVMIO, 0x88, sizeof(KvmListHead));
inline constexpr unsigned long kSetMsrs = _IOC(_IOC_WRITE, KVMIO, 0x89, sizeof(KvmListHead));
inline constexpr unsigned long kSetSignalMask = _IOC(_IOC_WRITE, KVMIO, 0x8b, 4);
inline constexpr unsigned long kSetCpuid2 = _IOC(_IOC_WRITE, KVMIO, 0x90, sizeof(KvmListHead));
inline constexpr unsigned long kGetXsave = _IOC(_IOC_READ, KVMIO, 0xa4, sizeof(KvmXsave));
inline constexpr unsigned long kSetXsave = _IOC(_IOC_WRITE, KVMIO, 0xa5, sizeof(KvmXsave));
}  // namespace kvm_ioctl

}  // namespace trapline

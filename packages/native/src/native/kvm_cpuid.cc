#include "kvm_cpuid.h"

#include <bit>
#include <iterator>

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

namespace {

constexpr std::uint32_t kTopology = 0xb;
constexpr std::uint32_t kTopology2 = 0x1f;

bool IsTopology(const kvm_cpuid_entry2& entry) {
  return entry.function == kTopology || entry.function == kTopology2;
}

/** Bits of an APIC id that number the cores: Intel SDM vol. 3, "Hierarchical mapping of shared resources". */
std::uint32_t CoreBits(unsigned count) { return static_cast<std::uint32_t>(std::bit_width(count - 1)); }

void Replace(std::uint32_t& word, unsigned low, unsigned bits, std::uint32_t value) {
  const std::uint32_t mask = ((1u << bits) - 1) << low;
  word = (word & ~mask) | (value << low & mask);
}

/** The list describes the host's CPU; these are the words that say where among others a CPU is. */
void Place(kvm_cpuid_entry2& entry, unsigned index, unsigned count) {
  const std::uint32_t most = (1u << CoreBits(count)) - 1;
  switch (entry.function) {
    case 1:
      Replace(entry.ebx, 24, 8, index);  // initial APIC id
      Replace(entry.ebx, 16, 8, count);  // logical processors, valid with HTT
      Replace(entry.edx, 28, 1, count > 1 ? 1 : 0);
      // KVM leaves this to the VMM; without it Linux ignores the hypervisor's leaves.
      entry.ecx |= 1u << 31;
      break;
    case 4:  // Intel's caches: who shares one, and cores of the package; the last level is shared by all
      if ((entry.eax & 0x1f) == 0) break;
      Replace(entry.eax, 14, 12, (entry.eax >> 5 & 7) >= 3 ? most : 0);
      Replace(entry.eax, 26, 6, most);
      break;
    case 0x80000008:  // AMD's: cores of the package, and the bits that number them
      Replace(entry.ecx, 0, 8, count - 1);
      Replace(entry.ecx, 12, 4, CoreBits(count));
      break;
    case 0x8000001d:  // AMD's caches
      if ((entry.eax & 0x1f) != 0) Replace(entry.eax, 14, 12, (entry.eax >> 5 & 7) >= 3 ? count - 1 : 0);
      break;
    case 0x8000001e:  // AMD's extended APIC id, core and node
      entry.eax = index;
      entry.ebx = index;
      entry.ecx = 0;
      break;
    default:
      break;
  }
}

}  // namespace

Cpuid GuestCpuid(const Cpuid& supported, unsigned index, unsigned count) {
  // x2APIC topology: threads of a core, cores of the package, the end of the list.
  const std::uint32_t levels[][3] = {{0, 1, 1}, {CoreBits(count), count, 2}, {0, 0, 0}};
  Cpuid cpuid(supported.head()->count + std::size(levels));
  kvm_cpuid_entry2* next = cpuid.begin();
  bool topology = false;
  for (const kvm_cpuid_entry2& entry : supported) {
    if (entry.function == 0) topology = entry.eax >= kTopology;
    // Leaf 0x1f says the same with more levels; where it is empty, 0xb is asked.
    if (IsTopology(entry)) continue;
    Place(*next++ = entry, index, count);
  }
  for (std::uint32_t level = 0; topology && level < std::size(levels); level++) {
    const auto& [shift, processors, type] = levels[level];
    kvm_cpuid_entry2 entry{};
    entry.function = kTopology;
    entry.index = level;
    entry.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
    entry.eax = shift;
    entry.ebx = processors;
    entry.ecx = type << 8 | level;
    entry.edx = index;
    *next++ = entry;
  }
  cpuid.head()->count = static_cast<std::uint32_t>(next - cpuid.begin());
  return cpuid;
}

void SetCpuid(int vcpu, const Cpuid& cpuid) {
  Check(::ioctl(vcpu, kvm_ioctl::kSetCpuid2, cpuid.head()), "KVM_SET_CPUID2");
}

}  // namespace trapline

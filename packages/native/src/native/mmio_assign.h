// MMIO passthrough as ACRN's hypervisor does it: hcall_assign_mmiodev and hcall_deassign_mmiodev, with their gaps.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ept.h"
#include "ioreq_page.h"

namespace trapline {

/** `struct acrn_mmiodev`. All three entries are processed; one of zeros does nothing. */
struct MmioDev {
  char name[8];
  struct {
    /** GPA in the User VM. */
    std::uint64_t guest;
    /** HPA. */
    std::uint64_t host;
    std::uint64_t size;
    /** Raw EPT memory type bits; only `kMemoryTypeMask` counts. */
    std::uint64_t memory_type;
  } resources[3];
};
static_assert(sizeof(MmioDev) == 104 && offsetof(MmioDev, resources) == 8);
#ifdef TRAPLINE_HAS_LINUX_ACRN_H
static_assert(sizeof(acrn_mmiodev) == sizeof(MmioDev));
#endif

enum class VmState { kCreated, kRunning, kPaused };

/** The two tables that a device moves between. */
struct Translations {
  /** The Service VM's: GPA = HPA. */
  Ept service;
  Ept user;
};

/** Takes `dev` from the Service VM and gives it to the User VM. @returns 0 or -EINVAL; what was done until then stays */
int AssignMmioDev(Translations& tables, VmState state, const MmioDev& dev);
/** The other way. */
int DeassignMmioDev(Translations& tables, VmState state, const MmioDev& dev);

}  // namespace trapline

#include "mmio_assign.h"

#include <cerrno>

namespace trapline {

namespace {

/** assign_mmio_dev: entries before a misaligned one stay mapped. */
int Map(Ept& table, bool identity, const MmioDev& dev) {
  for (const auto& one : dev.resources) {
    if (!PageAligned(one.guest) || !PageAligned(one.host) || !PageAligned(one.size)) return -EINVAL;
    table.Add(identity ? one.host : one.guest, one.host, one.size, one.memory_type);
  }
  return 0;
}

/** deassign_mmio_dev: what is not wholly mapped is skipped without a word. */
int Unmap(Ept& table, bool identity, const MmioDev& dev) {
  for (const auto& one : dev.resources) {
    const std::uint64_t guest = identity ? one.host : one.guest;
    if (!table.Covers(guest, one.size)) continue;
    if (!PageAligned(guest) || !PageAligned(one.size)) return -EINVAL;
    table.Remove(guest, one.size);
  }
  return 0;
}

}  // namespace

int AssignMmioDev(Translations& tables, VmState state, const MmioDev& dev) {
  if (state != VmState::kCreated) return -EINVAL;
  if (const int result = Unmap(tables.service, true, dev); result != 0) return result;
  return Map(tables.user, false, dev);
}

int DeassignMmioDev(Translations& tables, VmState state, const MmioDev& dev) {
  if (state != VmState::kCreated && state != VmState::kPaused) return -EINVAL;
  if (const int result = Unmap(tables.user, false, dev); result != 0) return result;
  return Map(tables.service, true, dev);
}

}  // namespace trapline

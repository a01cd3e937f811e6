// Guest RAM: one memfd, mapped once, laid out around the hole for devices below 4 GiB.
#pragma once

#include <cstdint>
#include <vector>

#include "sys.h"

namespace trapline {

/** A piece of guest RAM: where the guest sees it and where it is in the mapping. */
struct RamRegion {
  std::uint64_t guest;
  std::uint64_t offset;
  std::uint64_t size;
};

class GuestRam {
 public:
  /** Guest-physical start of the hole in which devices live; it ends at 4 GiB. */
  static constexpr std::uint64_t kHoleStart = 3ull << 30;
  static constexpr std::uint64_t kHoleEnd = 4ull << 30;

  /** @param size a multiple of 4 KiB, more than 0 */
  explicit GuestRam(std::uint64_t size);

  const std::vector<RamRegion>& regions() const { return regions_; }
  unsigned char* data() const { return mapping_.data(); }
  /** The descriptor, for whoever shall share the guest's memory. */
  int fd() const { return fd_.get(); }
  /** Idempotent. */
  void Release();

 private:
  UniqueFd fd_;
  Mapping mapping_;
  std::vector<RamRegion> regions_;
};

}  // namespace trapline

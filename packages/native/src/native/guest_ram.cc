#include "guest_ram.h"

#include <algorithm>

#include <fcntl.h>
#include <sys/mman.h>

namespace trapline {

GuestRam::GuestRam(std::uint64_t size) {
  if (size == 0 || size % 4096 != 0) throw SysError("guest RAM", EINVAL);
  fd_ = UniqueFd(Check(::memfd_create("trapline-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING), "memfd_create"));
  Check(::ftruncate(fd_.get(), static_cast<off_t>(size)), "ftruncate");
  // Nobody who is given the descriptor later may shrink the file under our mapping: that would be a SIGBUS here.
  Check(::fcntl(fd_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), "fcntl(F_ADD_SEALS)");
  mapping_ = Mapping(fd_.get(), size);
  const std::uint64_t low = std::min(size, kHoleStart);
  regions_.push_back({0, 0, low});
  if (size > low) regions_.push_back({kHoleEnd, low, size - low});
}

void GuestRam::Release() {
  mapping_.Unmap();
  fd_.Reset();
}

}  // namespace trapline

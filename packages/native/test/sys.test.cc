#include "sys.h"

#include <fcntl.h>
#include <sys/eventfd.h>

#include "harness.h"
#include "spin.h"

using namespace trapline;

namespace {

bool IsOpen(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }
int NewFd() { return Check(::eventfd(0, EFD_CLOEXEC), "eventfd"); }

bool IsMapped(void* at) {
  unsigned char resident = 0;
  return ::mincore(at, 4096, &resident) == 0;
}

}  // namespace

TEST("Check: passes a result on, and throws the call's name and errno") {
  CHECK_EQ(Check(3, "any"), 3);
  CHECK_EQ(Check(0, "any"), 0);
  const auto thrown = CHECK_THROWS(SysError, Check(::close(-1), "close"));
  CHECK_EQ(thrown.error(), EBADF);
  CHECK_EQ(std::string(thrown.what()), std::string("close: ") + std::strerror(EBADF));
}

TEST("UniqueFd: closes what it owns, once") {
  const int fd = NewFd();
  {
    UniqueFd owner(fd);
    CHECK(owner);
    CHECK_EQ(owner.get(), fd);
  }
  CHECK(!IsOpen(fd));
  UniqueFd owner(NewFd());
  owner.Reset();
  CHECK(!owner);
  // The number may be somebody else's by now.
  UniqueFd other(NewFd());
  owner.Reset();
  CHECK(IsOpen(other.get()));
  CHECK(!UniqueFd());
}

TEST("UniqueFd: moves, and an assignment closes what was held") {
  UniqueFd first(NewFd());
  const int kept = first.get();
  UniqueFd second(std::move(first));
  CHECK(!first);
  CHECK_EQ(second.get(), kept);
  UniqueFd third(NewFd());
  const int replaced = third.get();
  third = std::move(second);
  CHECK(!IsOpen(replaced));
  CHECK(IsOpen(kept));
  UniqueFd& same = third;
  third = std::move(same);
  CHECK(IsOpen(kept));
}

TEST("Mapping: maps zeroed memory, and unmaps it once") {
  unsigned char* data = nullptr;
  {
    Mapping mapping(-1, 8192);
    data = mapping.data();
    CHECK_EQ(mapping.size(), 8192u);
    CHECK_EQ(data[0], 0);
    CHECK_EQ(data[8191], 0);
    data[8191] = 1;
    CHECK(IsMapped(data));
  }
  CHECK(!IsMapped(data));
  Mapping mapping(-1, 4096);
  data = mapping.data();
  mapping.Unmap();
  CHECK(mapping.data() == nullptr);
  CHECK_EQ(mapping.size(), 0u);
  mapping.Unmap();
}

TEST("Mapping: moves, and an assignment unmaps what was held") {
  Mapping first(-1, 4096);
  first.data()[0] = 7;
  Mapping second(std::move(first));
  CHECK(first.data() == nullptr);
  CHECK_EQ(second.data()[0], 7);
  Mapping third(-1, 4096);
  unsigned char* replaced = third.data();
  third = std::move(second);
  CHECK_EQ(third.data()[0], 7);
  CHECK(!IsMapped(replaced));
}

TEST("Mapping: shares a file's memory, and says why it cannot") {
  UniqueFd file(Check(static_cast<int>(::memfd_create("test", MFD_CLOEXEC)), "memfd_create"));
  Check(::ftruncate(file.get(), 4096), "ftruncate");
  Mapping one(file.get(), 4096), other(file.get(), 4096);
  one.data()[5] = 9;
  CHECK_EQ(other.data()[5], 9);
  CHECK_EQ(CHECK_THROWS(SysError, Mapping(-1, 0)).error(), EINVAL);
}

TEST("SpinUntil: looks at least once, and no more without time") {
  unsigned looks = 0;
  CHECK(!SpinUntil(0, [&] { return ++looks > 1; }));
  CHECK_EQ(looks, 1u);
  CHECK(SpinUntil(0, [] { return true; }));
  looks = 0;
  CHECK(SpinUntil(60'000'000, [&] { return ++looks == 100; }));
  CHECK_EQ(looks, 100u);
  CHECK(!SpinUntil(1, [] { return false; }));
}

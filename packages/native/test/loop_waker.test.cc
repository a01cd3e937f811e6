#include "loop_waker.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <memory>

#include <fcntl.h>
#include <sys/eventfd.h>

#include "fake_loop.h"
#include "harness.h"

using namespace trapline;
using trapline::test::FakeLoop;
using trapline::test::Threads;

namespace {

/** The number that the next descriptor gets. */
int NextDescriptor() {
  const int fd = ::eventfd(0, EFD_CLOEXEC);
  ::close(fd);
  return fd;
}

}  // namespace

TEST("LoopWaker: bits raised before the loop's turn arrive together, once") {
  FakeLoop loop;
  std::vector<std::uint32_t> heard;
  LoopWaker waker(&loop, [&](std::uint32_t bits) { heard.push_back(bits); });
  waker.Raise(1);
  waker.Raise(4);
  waker.Raise(4);
  CHECK(heard.empty());
  loop.Turn(-1);
  CHECK_EQ(heard.size(), 1u);
  CHECK_EQ(heard[0], 5u);
  loop.Turn(0);
  CHECK_EQ(heard.size(), 1u);
  waker.Raise(2);
  loop.Turn(-1);
  CHECK_EQ(heard.back(), 2u);
  waker.Close();
  loop.Turn(0);
}

TEST("LoopWaker: keeps the process alive only where it is asked to") {
  FakeLoop loop;
  LoopWaker waker(&loop, [](std::uint32_t) {});
  CHECK_EQ(loop.referenced(), 0u);
  waker.KeepAlive(true);
  CHECK_EQ(loop.referenced(), 1u);
  waker.KeepAlive(false);
  CHECK_EQ(loop.referenced(), 0u);
  waker.Close();
  waker.KeepAlive(true);
  CHECK_EQ(loop.referenced(), 0u);
  loop.Turn(0);
}

TEST("LoopWaker: closed, it is silent, holds no descriptor, and says when libuv has let go") {
  FakeLoop loop;
  const int before = NextDescriptor();
  unsigned heard = 0, closed = 0;
  LoopWaker waker(&loop, [&](std::uint32_t) { heard++; });
  waker.Raise(1);
  waker.Close([&] { closed++; });
  CHECK_EQ(NextDescriptor(), before);
  CHECK_EQ(loop.open(), 0u);
  CHECK_EQ(closed, 0u);
  loop.Turn(0);
  CHECK_EQ(heard, 0u);
  CHECK_EQ(closed, 1u);
  waker.Raise(1);
  waker.Close([&] { closed++; });
  CHECK_EQ(closed, 2u);
}

TEST("LoopWaker: may be closed in its own call") {
  FakeLoop loop;
  bool closed = false;
  std::unique_ptr<LoopWaker> waker;
  waker = std::make_unique<LoopWaker>(&loop, [&](std::uint32_t) { waker->Close([&] { closed = true; }); });
  waker->Raise(1);
  loop.Turn(-1);
  CHECK(closed);
}

TEST("LoopWaker: the handle outlives it until libuv has let go") {
  FakeLoop loop;
  { LoopWaker waker(&loop, [](std::uint32_t) {}); }
  CHECK_EQ(loop.closing.size(), 1u);
  loop.Turn(0);
  CHECK(loop.closing.empty());
}

TEST("LoopWaker: what libuv refuses is an error with its number, and leaves nothing behind") {
  FakeLoop loop;
  const int before = NextDescriptor();
  loop.fail_init = -EMFILE;
  const auto init = CHECK_THROWS(SysError, LoopWaker(&loop, [](std::uint32_t) {}));
  CHECK_EQ(init.error(), EMFILE);
  CHECK_EQ(std::string(init.call()), "uv_poll_init");
  loop.fail_init = 0;
  loop.fail_start = -EPERM;
  const auto start = CHECK_THROWS(SysError, LoopWaker(&loop, [](std::uint32_t) {}));
  CHECK_EQ(start.error(), EPERM);
  CHECK_EQ(loop.open(), 0u);
  loop.Turn(0);
  CHECK_EQ(NextDescriptor(), before);
}

TEST("LoopWaker: under stress no bit is lost") {
  FakeLoop loop;
  constexpr unsigned kThreads = 4;
  constexpr unsigned kRounds = 2000;
  std::array<std::atomic<unsigned>, kThreads> heard{};
  LoopWaker waker(&loop, [&](std::uint32_t bits) {
    for (unsigned i = 0; i < kThreads; i++) heard[i] += bits >> i & 1;
  });
  Threads threads;
  for (unsigned i = 0; i < kThreads; i++) {
    threads.Start([&, i] {
      for (unsigned round = 0; round < kRounds; round++) {
        waker.Raise(1u << i);
        while (heard[i] <= round) std::this_thread::yield();
      }
    });
  }
  const auto done = [&] {
    for (auto& one : heard) {
      if (one < kRounds) return false;
    }
    return true;
  };
  while (!done()) loop.Turn(-1);
  threads.Join();
  waker.Close();
  loop.Turn(0);
}

TEST("LoopWaker: a wake-up that is under way while it closes writes into nobody else's descriptor") {
  for (int round = 0; round < 200; round++) {
    FakeLoop loop;
    LoopWaker waker(&loop, [](std::uint32_t) {});
    std::atomic<bool> stop{false};
    Threads threads;
    threads.Start([&] {
      while (!stop) waker.Raise(1);
    });
    waker.Close();
    // Takes the number that has just become free.
    UniqueFd other(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    std::this_thread::yield();
    stop = true;
    threads.Join();
    std::uint64_t count = 0;
    CHECK_EQ(::read(other.get(), &count, sizeof count), -1);
    loop.Turn(0);
  }
}

// Both ends of the request page: reference is HSM's protocol, with compare-and-swap in place of its lock.
#include "ioreq_channel.h"

#include <array>
#include <atomic>
#include <chrono>
#include <deque>

#include "cpus.h"
#include "harness.h"

using namespace trapline;
using trapline::test::Threads;

namespace {

constexpr std::uint64_t kOnes = ~std::uint64_t{0};

Access Read(std::uint64_t address, std::uint32_t size = 4) { return {RequestType::kPio, false, address, size, 0}; }
Access Write(std::uint64_t address, std::uint64_t value, std::uint32_t size = 4) {
  return {RequestType::kMmio, true, address, size, value};
}

std::int32_t AsleepOf(const IoreqChannel& channel, unsigned slot) {
  auto* control = reinterpret_cast<ControlBlock*>(channel.mapping().data() + kPageBytes);
  return std::atomic_ref<std::int32_t>(control->asleep[slot]).load();
}

void SetGeneration(const IoreqChannel& channel, unsigned slot, std::int32_t generation) {
  reinterpret_cast<ControlBlock*>(channel.mapping().data() + kPageBytes)->generation[slot] = generation;
}

/** Gives a read its value and completes it, as the server does. */
bool Answer(IoreqChannel& channel, unsigned slot, std::int32_t generation, std::uint64_t value) {
  std::atomic_ref<std::uint64_t>(channel.At(slot).value).store(value, std::memory_order_relaxed);
  return channel.Complete(slot, generation);
}

/** Waits until a vCPU thread has said that it sleeps. */
void AwaitAsleep(const IoreqChannel& channel, unsigned slot) {
  while (AsleepOf(channel, slot) == 0) std::this_thread::yield();
  // From the flag to the futex it has a few more instructions: one that is completed between them never sleeps, and
  // shows nothing of its wake-up.
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
}

}  // namespace

TEST("IoreqChannel: every slot starts free, though zeroed memory reads as pending") {
  IoreqChannel channel(2, [] {});
  for (unsigned slot = 0; slot < kSlots; slot++) CHECK_EQ(channel.State(slot).load(), state::kFree);
  CHECK_EQ(state::kPending, 0u);
  CHECK(!channel.AnyPending());
  CHECK_EQ(channel.Take(), 0u);
}

TEST("IoreqChannel: takes 1 to 16 slots") {
  CHECK_EQ(CHECK_THROWS(SysError, IoreqChannel(0, [] {})).error(), EINVAL);
  CHECK_EQ(CHECK_THROWS(SysError, IoreqChannel(17, [] {})).error(), EINVAL);
  CHECK_EQ(IoreqChannel(16, [] {}).slots(), 16u);
}

TEST("IoreqChannel: a request goes free, pending, processing, complete, free") {
  unsigned announced = 0;
  IoreqChannel channel(2, [&] { announced++; });
  channel.Post(1, Write(0xfee0'0000'1234, 0x1'0000'0002, 8));
  CHECK_EQ(announced, 1u);
  CHECK_EQ(channel.State(1).load(), state::kPending);
  CHECK(channel.AnyPending());
  const Slot& slot = channel.At(1);
  CHECK_EQ(slot.type, static_cast<std::uint32_t>(RequestType::kMmio));
  CHECK_EQ(slot.direction, 1u);
  CHECK_EQ(slot.address, 0xfee0'0000'1234u);
  CHECK_EQ(slot.size, 8u);
  CHECK_EQ(slot.value, 0x1'0000'0002u);
  CHECK_EQ(channel.Take(), 1u << 1);
  CHECK_EQ(channel.State(1).load(), state::kProcessing);
  CHECK(!channel.AnyPending());
  CHECK(Answer(channel, 1, channel.generation(1), 7));
  CHECK_EQ(channel.State(1).load(), state::kComplete);
  CHECK_EQ(channel.Await(1), 7u);
  CHECK_EQ(channel.State(1).load(), state::kFree);
}

TEST("IoreqChannel: a read says so in the page") {
  IoreqChannel channel(1, [] {});
  channel.Post(0, Write(1, 2));
  channel.Take();
  channel.Complete(0, channel.generation(0));
  channel.Await(0);
  channel.Post(0, Read(0x3f8, 1));
  CHECK_EQ(channel.At(0).direction, 0u);
  CHECK_EQ(channel.At(0).type, static_cast<std::uint32_t>(RequestType::kPio));
}

TEST("IoreqChannel: all pending slots are taken at once, each once") {
  IoreqChannel channel(16, [] {});
  for (unsigned slot = 0; slot < 16; slot += 3) channel.Post(slot, Read(slot));
  CHECK_EQ(channel.Take(), 0b1001'0010'0100'1001u);
  CHECK_EQ(channel.Take(), 0u);
}

TEST("IoreqChannel: slots that are not in use are never looked at") {
  IoreqChannel channel(2, [] {});
  channel.State(2).store(state::kPending);
  CHECK(!channel.AnyPending());
  CHECK_EQ(channel.Take(), 0u);
  channel.Abort();
  CHECK_EQ(channel.State(2).load(), state::kPending);
  channel.State(2).store(state::kProcessing);
  CHECK(!channel.Complete(2, 0));
  CHECK_EQ(channel.generation(16), 0);
}

TEST("IoreqChannel: a claim counts the generation, and a late completion is refused") {
  IoreqChannel channel(1, [] {});
  channel.Post(0, Read(1));
  channel.Take();
  const std::int32_t first = channel.generation(0);
  CHECK(channel.Complete(0, first));
  CHECK(!channel.Complete(0, first));
  channel.Await(0);
  channel.Post(0, Read(2));
  CHECK(!channel.Complete(0, first));
  channel.Take();
  CHECK_EQ(channel.generation(0), first + 1);
  CHECK(!channel.Complete(0, first));
  CHECK_EQ(channel.State(0).load(), state::kProcessing);
  CHECK(channel.Complete(0, first + 1));
}

TEST("IoreqChannel: what was not claimed cannot be completed") {
  IoreqChannel channel(1, [] {});
  CHECK(!channel.Complete(0, channel.generation(0)));
  CHECK_EQ(channel.State(0).load(), state::kFree);
  channel.Post(0, Read(1));
  CHECK(!channel.Complete(0, channel.generation(0)));
  CHECK_EQ(channel.State(0).load(), state::kPending);
}

TEST("IoreqChannel: the generation wraps as an int32") {
  IoreqChannel channel(1, [] {});
  SetGeneration(channel, 0, INT32_MAX);
  channel.Post(0, Read(1));
  channel.Take();
  CHECK_EQ(channel.generation(0), INT32_MIN);
  CHECK(!channel.Complete(0, INT32_MAX));
  CHECK(channel.Complete(0, INT32_MIN));
}

TEST("IoreqChannel: the value goes through whole, masking is its caller's") {
  IoreqChannel channel(1, [] {});
  channel.Post(0, Read(1, 1));
  channel.Take();
  CHECK(Answer(channel, 0, channel.generation(0), 0x1234'5678'9abc'def0));
  CHECK_EQ(channel.Await(0), 0x1234'5678'9abc'def0u);
}

TEST("IoreqChannel: a vCPU that sleeps is woken by its completion") {
  IoreqChannel channel(1, [] {});
  Threads threads;
  std::uint64_t value = 0;
  channel.Post(0, Read(1));
  threads.Start([&] { value = channel.Await(0); });
  AwaitAsleep(channel, 0);
  CHECK_EQ(channel.Take(), 1u);
  CHECK(Answer(channel, 0, channel.generation(0), 42));
  threads.Join();
  CHECK_EQ(value, 42u);
  CHECK_EQ(AsleepOf(channel, 0), 0);
}

TEST("IoreqChannel: a vCPU that is asleep stays so until its own slot is complete") {
  IoreqChannel channel(2, [] {});
  Threads threads;
  std::atomic<bool> back{false};
  channel.Post(0, Read(1));
  channel.Post(1, Read(2));
  threads.Start([&] {
    channel.Await(0);
    back = true;
  });
  AwaitAsleep(channel, 0);
  CHECK_EQ(channel.Take(), 3u);
  channel.Complete(1, channel.generation(1));
  channel.Await(1);
  // A wake-up for nothing: it looks, and sleeps again.
  channel.WakeVcpu(0);
  AwaitAsleep(channel, 0);
  CHECK(!back);
  channel.Complete(0, channel.generation(0));
  threads.Join();
  CHECK(back);
}

TEST("IoreqChannel: completion_polling is shown in the page and suppresses the sleep and the wake-up") {
  IoreqChannel channel(1, [] {});
  channel.set_completion_polling(true);
  channel.Post(0, Read(1));
  CHECK_EQ(channel.At(0).completion_polling, 1u);
  Threads threads;
  std::atomic<bool> waits{false};
  std::uint64_t value = 0;
  bool slept = false;
  threads.Start([&] {
    waits = true;
    value = channel.Await(0);
  });
  while (!waits) std::this_thread::yield();
  CHECK_EQ(channel.Take(), 1u);
  for (int i = 0; i < 200; i++) {
    slept = slept || AsleepOf(channel, 0) != 0;
    std::this_thread::yield();
  }
  CHECK(!slept);
  // The state word alone ends the wait: nobody is woken.
  std::atomic_ref<std::uint64_t>(channel.At(0).value).store(9, std::memory_order_relaxed);
  std::uint32_t expected = state::kProcessing;
  CHECK(channel.State(0).compare_exchange_strong(expected, state::kComplete));
  threads.Join();
  CHECK_EQ(value, 9u);
}

TEST("IoreqChannel: without completion_polling the page says 0") {
  IoreqChannel channel(1, [] {});
  channel.At(0).completion_polling = 1;
  channel.Post(0, Read(1));
  CHECK_EQ(channel.At(0).completion_polling, 0u);
}

TEST("IoreqChannel: a vCPU spins for its completion where that is set and helps") {
  if (!SpinningHelps()) throw trapline::test::Skip("this process may run on no CPU");
  IoreqChannel channel(1, [] {});
  channel.set_wait_spin(60'000'000);
  channel.Post(0, Read(1));
  channel.Take();
  Threads threads;
  std::atomic<bool> waits{false};
  threads.Start([&] {
    waits = true;
    channel.Await(0);
  });
  while (!waits) std::this_thread::yield();
  bool slept = false;
  for (int i = 0; i < 200; i++) {
    slept = slept || AsleepOf(channel, 0) != 0;
    std::this_thread::yield();
  }
  channel.Complete(0, channel.generation(0));
  threads.Join();
  CHECK(!slept);
}

TEST("IoreqChannel: a vCPU does not spin where no CPU is left for the server") {
  IoreqChannel channel(1, [] {});
  VcpuThreadCount count(UsableCpus());
  channel.set_wait_spin(60'000'000);
  channel.Post(0, Read(1));
  channel.Take();
  Threads threads;
  threads.Start([&] { channel.Await(0); });
  AwaitAsleep(channel, 0);
  channel.Complete(0, channel.generation(0));
  threads.Join();
}

TEST("IoreqChannel: what a kernel client handles is never pending, and ends free with its value") {
  unsigned announced = 0;
  IoreqChannel channel(1, [&] { announced++; });
  channel.ServeInKernel(0, Read(0x10), 0x55);
  CHECK_EQ(announced, 0u);
  CHECK_EQ(channel.State(0).load(), state::kFree);
  CHECK_EQ(channel.At(0).kernel_handled, 1u);
  CHECK_EQ(channel.At(0).address, 0x10u);
  CHECK_EQ(channel.At(0).value, 0x55u);
  CHECK_EQ(channel.generation(0), 1);
  channel.ServeInKernel(0, Write(0x10, 0x66), 0x77);
  CHECK_EQ(channel.At(0).value, 0x66u);
}

TEST("IoreqChannel: the server can neither take nor complete nor abort a slot of a kernel client") {
  IoreqChannel channel(1, [] {});
  channel.ServeInKernel(0, Read(1), 5);
  // As a kernel client has it while it serves.
  channel.State(0).store(state::kProcessing);
  CHECK_EQ(channel.Take(), 0u);
  CHECK(!channel.Complete(0, channel.generation(0)));
  CHECK_EQ(channel.State(0).load(), state::kProcessing);
  channel.Abort();
  CHECK_EQ(channel.State(0).load(), state::kProcessing);
  CHECK_EQ(channel.At(0).value, 5u);
}

TEST("IoreqChannel: a request after a kernel client's is the server's again") {
  IoreqChannel channel(1, [] {});
  channel.ServeInKernel(0, Read(1), 5);
  channel.Post(0, Read(2));
  CHECK_EQ(channel.Take(), 1u);
  CHECK_EQ(channel.At(0).kernel_handled, 0u);
  CHECK(channel.Complete(0, channel.generation(0)));
}

TEST("IoreqChannel: Abort completes what is pending and what is claimed with all ones") {
  IoreqChannel channel(3, [] {});
  channel.Post(0, Read(1));
  channel.Take();
  const std::int32_t claimed = channel.generation(0);
  channel.Post(1, Read(2));
  channel.Abort();
  CHECK_EQ(channel.State(0).load(), state::kComplete);
  CHECK_EQ(channel.State(1).load(), state::kComplete);
  CHECK_EQ(channel.State(2).load(), state::kFree);
  CHECK(!channel.Complete(0, claimed));
  CHECK_EQ(channel.Await(0), kOnes);
  CHECK_EQ(channel.Await(1), kOnes);
}

TEST("IoreqChannel: Abort gives the slot a new generation, for a settlement that comes late") {
  IoreqChannel channel(1, [] {});
  channel.Post(0, Read(1));
  channel.Take();
  const std::int32_t old = channel.generation(0);
  channel.Abort();
  CHECK(channel.generation(0) != old);
  // Also where JavaScript completes by a compare-and-swap of its own, with nothing to go by but the generation.
  channel.State(0).store(state::kProcessing);
  CHECK(!channel.Complete(0, old));
}

TEST("IoreqChannel: Abort leaves a completion alone that was there before it") {
  IoreqChannel channel(1, [] {});
  channel.Post(0, Read(1));
  channel.Take();
  CHECK(Answer(channel, 0, channel.generation(0), 3));
  channel.Abort();
  CHECK_EQ(channel.Await(0), 3u);
}

TEST("IoreqChannel: Abort wakes a vCPU that sleeps") {
  IoreqChannel channel(1, [] {});
  channel.Post(0, Read(1));
  channel.Take();
  Threads threads;
  std::uint64_t value = 0;
  threads.Start([&] { value = channel.Await(0); });
  AwaitAsleep(channel, 0);
  channel.Abort();
  threads.Join();
  CHECK_EQ(value, kOnes);
}

TEST("IoreqChannel: a request posted while aborting completes with all ones, unannounced") {
  unsigned announced = 0;
  IoreqChannel channel(1, [&] { announced++; });
  channel.Abort();
  for (int i = 0; i < 3; i++) {
    channel.Post(0, Write(1, 2));
    CHECK_EQ(channel.State(0).load(), state::kComplete);
    CHECK_EQ(channel.Take(), 0u);
    CHECK_EQ(channel.Await(0), kOnes);
  }
  CHECK_EQ(announced, 0u);
}

TEST("IoreqChannel: after Resume requests are served again") {
  unsigned announced = 0;
  IoreqChannel channel(1, [&] { announced++; });
  channel.Abort();
  channel.Resume();
  channel.Post(0, Read(1));
  CHECK_EQ(announced, 1u);
  CHECK_EQ(channel.Take(), 1u);
  CHECK(Answer(channel, 0, channel.generation(0), 6));
  CHECK_EQ(channel.Await(0), 6u);
}

TEST("IoreqChannel: without its memory the server's end finds no slots") {
  IoreqChannel channel(4, [] {});
  channel.Unmap();
  CHECK_EQ(channel.Take(), 0u);
  CHECK(!channel.AnyPending());
  CHECK(!channel.Complete(0, 0));
  CHECK_EQ(channel.generation(0), 0);
  channel.WakeVcpu(0);
  channel.Abort();
}

TEST("IoreqChannel: under stress no request is lost and none is completed twice") {
  constexpr unsigned kVcpus = 4;
  constexpr unsigned kKernelUser = 3;
  constexpr std::uint64_t kRequests = 1500;
  IoreqChannel channel(kVcpus, [] {});
  // Of some the completion must wake, of others it meets a spinning vCPU.
  channel.set_wait_spin(20);
  Threads threads;
  for (unsigned vcpu = 0; vcpu < kVcpus; vcpu++) {
    threads.Start([&, vcpu] {
      for (std::uint64_t i = 0; i < kRequests; i++) {
        if (vcpu == kKernelUser && i % 16 == 5) channel.ServeInKernel(vcpu, Write(i, ~i), 0);
        channel.Post(vcpu, Write(i, i));
        CHECK_EQ(channel.Await(vcpu), i * 2 + 1);
      }
    });
  }
  std::array<std::uint64_t, kVcpus> served{};
  std::deque<std::pair<unsigned, std::int32_t>> late;
  for (std::uint64_t total = 0; total < kVcpus * kRequests;) {
    const std::uint32_t taken = channel.Take();
    if (taken == 0) std::this_thread::yield();
    for (unsigned slot = 0; slot < kVcpus; slot++) {
      if ((taken >> slot & 1) == 0) continue;
      const Slot& request = channel.At(slot);
      CHECK_EQ(channel.State(slot).load(), state::kProcessing);
      CHECK_EQ(request.address, served[slot]);
      CHECK_EQ(request.kernel_handled, 0u);
      const std::int32_t generation = channel.generation(slot);
      CHECK(Answer(channel, slot, generation, served[slot] * 2 + 1));
      served[slot]++;
      total++;
      // A vCPU that serves itself meanwhile has a slot in PROCESSING, too; completing that does no harm, but succeeds.
      if (slot == kKernelUser) continue;
      CHECK(!channel.Complete(slot, generation));
      late.emplace_back(slot, generation);
      if (late.size() > 8) {
        CHECK(!channel.Complete(late.front().first, late.front().second));
        late.pop_front();
      }
    }
  }
  threads.Join();
}

TEST("IoreqChannel: under stress a vCPU that posts into an Abort always goes on") {
  constexpr unsigned kVcpus = 2;
  constexpr int kRounds = 300;
  for (int round = 0; round < kRounds; round++) {
    IoreqChannel channel(kVcpus, [] {});
    std::atomic<unsigned> running{kVcpus};
    Threads threads;
    for (unsigned vcpu = 0; vcpu < kVcpus; vcpu++) {
      threads.Start([&, vcpu] {
        for (std::uint64_t i = 0;; i++) {
          channel.Post(vcpu, Write(i, i));
          const std::uint64_t value = channel.Await(vcpu);
          if (value == kOnes) break;
          CHECK_EQ(value, i);
        }
        running--;
      });
    }
    for (int i = 0; i < round % 40; i++) {
      const std::uint32_t taken = channel.Take();
      for (unsigned slot = 0; slot < kVcpus; slot++) {
        if (taken >> slot & 1) CHECK(channel.Complete(slot, channel.generation(slot)));
      }
    }
    const std::uint32_t taken = channel.Take();
    std::array<std::int32_t, kVcpus> generations{};
    for (unsigned slot = 0; slot < kVcpus; slot++) generations[slot] = channel.generation(slot);
    channel.Abort();
    for (unsigned slot = 0; slot < kVcpus; slot++) {
      if (taken >> slot & 1) CHECK(!channel.Complete(slot, generations[slot]));
    }
    threads.Join();
    CHECK_EQ(running.load(), 0u);
  }
}

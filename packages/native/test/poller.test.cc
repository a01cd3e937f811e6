#include "poller.h"

#include <array>
#include <deque>

#include "cpus.h"
#include "fake_loop.h"
#include "harness.h"
#include "machine_io.h"

using namespace trapline;
using trapline::test::FakeLoop;
using trapline::test::Threads;

namespace {

Access Write(std::uint64_t value) { return {RequestType::kPio, true, 0x3f8, 4, value}; }

/** A poller on a loop of its own, with machines. */
struct Fixture {
  FakeLoop loop;
  unsigned woken = 0;
  Poller poller{&loop, [this] { woken++; }};
  std::deque<MachineIo> machines;
  std::vector<unsigned> numbers;

  MachineIo& Add(unsigned vcpus = 1) {
    MachineIo& machine = machines.emplace_back(vcpus, poller.gate());
    // The threads of these tests are no vCPU threads: whether spinning helps is each test's own.
    machine.ThreadsEnded();
    numbers.push_back(poller.Add(machine.polled()));
    return machine;
  }
  ~Fixture() {
    poller.Close();
    loop.Turn(0);
  }
};

std::uint32_t NumberOf(std::uint32_t found) { return found >> taken::kNumberShift; }

void Finish(MachineIo& machine, unsigned slot = 0) {
  IoreqChannel& channel = machine.channel();
  channel.Complete(slot, channel.generation(slot));
  channel.Await(slot);
}

}  // namespace

TEST("Poller: with nothing to do it takes nothing, and arms") {
  Fixture f;
  CHECK(f.poller.empty());
  CHECK_EQ(f.poller.Take(), 0u);
  CHECK_EQ(f.poller.Wait(), 0u);
  CHECK(f.poller.Arm());
  f.Add();
  CHECK(!f.poller.empty());
  CHECK_EQ(f.poller.Take(), 0u);
}

TEST("Poller: says slots and machine in one word") {
  Fixture f;
  f.Add();
  MachineIo& second = f.Add(16);
  second.channel().Post(0, Write(1));
  second.channel().Post(15, Write(2));
  f.poller.BeginTurn(60'000'000);
  const std::uint32_t found = f.poller.Take();
  CHECK_EQ(NumberOf(found), f.numbers[1]);
  CHECK_EQ(found & taken::kSlots, 0x8001u);
  CHECK_EQ(found & (taken::kKicks | taken::kTurnOver), 0u);
  CHECK_EQ(f.poller.Take(), 0u);
}

TEST("Poller: a doorbell is said once, with the slots") {
  Fixture f;
  MachineIo& machine = f.Add();
  machine.Ring(0, 1, 1);
  machine.channel().Post(0, Write(1));
  CHECK_EQ(f.poller.Take(), taken::kKicks | 1u);
  CHECK_EQ(f.poller.Take(), 0u);
  machine.Ring(0, 1, 1);
  CHECK_EQ(f.poller.Take(), taken::kKicks);
}

TEST("Poller: a machine that asks without end does not keep the others from their turn") {
  Fixture f;
  for (int i = 0; i < 3; i++) f.Add();
  for (MachineIo& machine : f.machines) machine.channel().Post(0, Write(1));
  std::array<unsigned, 3> served{};
  for (int i = 0; i < 30; i++) {
    const unsigned number = NumberOf(f.poller.Take());
    served[number]++;
    Finish(f.machines[number]);
    f.machines[number].channel().Post(0, Write(1));
  }
  for (unsigned count : served) CHECK_EQ(count, 10u);
}

TEST("Poller: a machine that was removed is not looked at, and its number is used again") {
  Fixture f;
  MachineIo& first = f.Add();
  MachineIo& second = f.Add();
  first.channel().Post(0, Write(1));
  f.poller.Remove(f.numbers[0]);
  CHECK_EQ(f.poller.Take(), 0u);
  CHECK(f.poller.Arm());
  second.channel().Post(0, Write(1));
  CHECK_EQ(NumberOf(f.poller.Take()), f.numbers[1]);
  f.poller.Remove(f.numbers[1]);
  f.poller.Remove(f.numbers[1]);
  f.poller.Remove(1000);
  CHECK(f.poller.empty());
  f.Add();
  CHECK_EQ(f.numbers.back(), f.numbers[0]);
  CHECK(!f.poller.empty());
}

TEST("Poller: the turn is over when its time is, and said with what was taken then") {
  Fixture f;
  MachineIo& machine = f.Add();
  const auto take = [&] {
    machine.channel().Post(0, Write(1));
    const std::uint32_t found = f.poller.Take();
    Finish(machine);
    CHECK_EQ(found & taken::kSlots, 1u);
    return (found & taken::kTurnOver) != 0;
  };
  f.poller.BeginTurn(60'000'000);
  for (int i = 0; i < 100; i++) CHECK(!take());
  f.poller.BeginTurn(0);
  // The clock is looked at now and then only; once over, it stays so.
  unsigned taken = 1;
  while (!take()) taken++;
  CHECK_EQ(taken, 8u);
  CHECK(take());
  CHECK_EQ(f.poller.Take(), 0u);
  f.poller.BeginTurn(60'000'000);
  CHECK(!take());
}

TEST("Poller: the spin budget doubles while spinning finds something, up to its most") {
  Fixture f;
  MachineIo& machine = f.Add();
  // Not fixed: with one CPU for the poller and one for the thread below, it spins.
  if (!SpinningHelps()) throw trapline::test::Skip("this process may run on no CPU");
  CHECK_EQ(f.poller.spin_us(), Poller::kFirstSpinUs);
  unsigned budget = Poller::kFirstSpinUs;
  // Posted by another thread once the poller has looked for the first time, so that it is the spin that finds it. Where
  // this thread came too late, the first look found it, which changes nothing.
  Threads threads;
  std::atomic<unsigned> wanted{0};
  std::atomic<bool> stop{false};
  f.poller.FixSpin(60'000'000);
  threads.Start([&] {
    unsigned posted = 0;
    while (!stop) {
      if (posted == wanted) {
        std::this_thread::yield();
        continue;
      }
      posted++;
      // Long enough for the poller's first look, which costs nanoseconds.
      for (int i = 0; i < 50; i++) std::this_thread::yield();
      machine.channel().Post(0, Write(1));
      machine.channel().Await(0);
    }
  });
  bool grew = false;
  for (int i = 0; i < 40 && budget < Poller::kMostSpinUs; i++) {
    f.poller.FixSpin(60'000'000);
    wanted++;
    const std::uint32_t found = f.poller.Wait();
    CHECK_EQ(found & taken::kSlots, 1u);
    machine.channel().Complete(0, machine.channel().generation(0));
    f.poller.FixSpin(std::nullopt);
    const unsigned now = f.poller.spin_us();
    CHECK(now == budget || now == std::min(2 * budget, Poller::kMostSpinUs));
    grew = grew || now > budget;
    budget = now;
  }
  stop = true;
  threads.Join();
  CHECK(grew);
  CHECK_EQ(budget, Poller::kMostSpinUs);
}

TEST("Poller: the spin budget halves while spinning finds nothing, down to its least") {
  Fixture f;
  f.Add();
  unsigned budget = f.poller.spin_us();
  CHECK_EQ(budget, Poller::kFirstSpinUs);
  for (int i = 0; i < 8; i++) {
    CHECK_EQ(f.poller.Wait(), 0u);
    budget = std::max(budget / 2, Poller::kLeastSpinUs);
    CHECK_EQ(f.poller.spin_us(), budget);
  }
  CHECK_EQ(budget, Poller::kLeastSpinUs);
}

TEST("Poller: what is there at the first look costs no spin and leaves the budget") {
  Fixture f;
  MachineIo& machine = f.Add();
  machine.channel().Post(0, Write(1));
  CHECK_EQ(f.poller.Wait() & taken::kSlots, 1u);
  CHECK_EQ(f.poller.spin_us(), Poller::kFirstSpinUs);
}

TEST("Poller: spins not at all where no CPU is left for it, unless that is fixed") {
  Fixture f;
  VcpuThreadCount count(UsableCpus());
  CHECK_EQ(f.poller.spin_us(), 0u);
  f.poller.FixSpin(30);
  CHECK_EQ(f.poller.spin_us(), 30u);
  f.poller.FixSpin(std::nullopt);
  CHECK_EQ(f.poller.spin_us(), 0u);
}

TEST("Poller: Arm refuses while there is work, and asks for no wake-up then") {
  Fixture f;
  MachineIo& machine = f.Add();
  machine.channel().Post(0, Write(1));
  CHECK(!f.poller.Arm());
  f.poller.Take();
  machine.Ring(0, 1, 1);
  CHECK(!f.poller.Arm());
  f.poller.Take();
  Finish(machine);
  // Not armed: nobody is woken.
  machine.channel().Post(0, Write(1));
  f.loop.Turn(0);
  CHECK_EQ(f.woken, 0u);
}

TEST("Poller: armed, it is woken once, by the first request or doorbell") {
  Fixture f;
  MachineIo& machine = f.Add(2);
  Service bell;
  bell.kind = ServiceKind::kDoorbell;
  bell.base = 0x80;
  machine.services().Add(bell);
  CHECK(f.poller.Arm());
  machine.channel().Post(0, Write(1));
  f.loop.Turn(-1);
  CHECK_EQ(f.woken, 1u);
  machine.channel().Post(1, Write(1));
  f.loop.Turn(0);
  CHECK_EQ(f.woken, 1u);
  CHECK_EQ(f.poller.Take(), 3u);
  CHECK(f.poller.Arm());
  std::uint64_t value = 0;
  CHECK(machine.services().Serve({RequestType::kPio, true, 0x80, 1, 7}, value));
  f.loop.Turn(-1);
  CHECK_EQ(f.woken, 2u);
  CHECK_EQ(f.poller.Take(), taken::kKicks);
  CHECK_EQ(machine.services().TakeKick(0), 7u);
}

TEST("Poller: a vCPU thread may look at the gate after the poller has gone") {
  FakeLoop loop;
  auto poller = std::make_unique<Poller>(&loop, [] {});
  const std::shared_ptr<SleepGate> gate = poller->gate();
  poller->Arm();
  bool closed = false;
  poller->Close([&] { closed = true; });
  poller.reset();
  loop.Turn(0);
  CHECK(closed);
  gate->Announce();
}

TEST("Poller: refuses more machines than its word can number") {
  Fixture f;
  MachineIo& machine = f.Add();
  for (unsigned i = 1; i < taken::kMaxMachines; i++) f.poller.Add(machine.polled());
  CHECK_EQ(CHECK_THROWS(SysError, f.poller.Add(machine.polled())).error(), ENOSPC);
  f.poller.Remove(5);
  CHECK_EQ(f.poller.Add(machine.polled()), 5u);
}

TEST("Poller: under stress no wake-up is lost") {
  constexpr unsigned kMachines = 2;
  constexpr unsigned kVcpus = 2;
  constexpr unsigned kRequests = 3000;
  Fixture f;
  for (unsigned i = 0; i < kMachines; i++) f.Add(kVcpus);
  std::array<unsigned, kMachines> bells{};
  for (unsigned i = 0; i < kMachines; i++) {
    Service bell;
    bell.kind = ServiceKind::kDoorbell;
    bell.base = 0x80;
    bell.size = 4;
    bells[i] = *f.machines[i].services().Add(bell);
  }
  std::array<std::atomic<unsigned>, kMachines * kVcpus> heard{};
  std::atomic<unsigned> running{kMachines * kVcpus};
  Threads threads;
  for (unsigned machine = 0; machine < kMachines; machine++) {
    for (unsigned vcpu = 0; vcpu < kVcpus; vcpu++) {
      threads.Start([&, machine, vcpu] {
        MachineIo& io = f.machines[machine];
        for (unsigned i = 0; i < kRequests; i++) {
          if (i % 8 == 7) {
            // A kick, and nothing goes on until it was heard.
            auto& count = heard[machine * kVcpus + vcpu];
            const unsigned before = count;
            std::uint64_t value = 0;
            CHECK(io.services().Serve({RequestType::kPio, true, 0x80, 4, vcpu}, value));
            while (count == before) std::this_thread::yield();
          } else {
            io.channel().Post(vcpu, Write(i));
            CHECK_EQ(io.channel().Await(vcpu), i);
          }
        }
        running--;
      });
    }
  }
  unsigned slept = 0;
  while (running > 0) {
    std::uint32_t found = 0;
    while ((found = f.poller.Take()) != 0) {
      const unsigned number = NumberOf(found);
      MachineIo& io = f.machines[number];
      for (unsigned slot = 0; slot < kVcpus; slot++) {
        if (found >> slot & 1) CHECK(io.channel().Complete(slot, io.channel().generation(slot)));
      }
      if ((found & taken::kKicks) == 0) continue;
      while (const auto kick = io.services().TakeKick(bells[number])) heard[number * kVcpus + *kick]++;
    }
    if (!f.poller.Arm()) continue;
    // As long as it takes: a wake-up that is lost ends in the time limit. The last to end wakes nobody.
    const unsigned before = f.woken;
    while (f.woken == before && running > 0) f.loop.Turn(50);
    slept++;
  }
  threads.Join();
  CHECK(slept > 0);
}

#include "run_gate.h"

#include <atomic>

#include "harness.h"

using namespace trapline;
using trapline::test::Threads;

TEST("RunGate: begins paused and resting") {
  RunGate gate([] {});
  CHECK(gate.resting());
}

TEST("RunGate: a thread waits until it may run, and is not resting then") {
  std::atomic<unsigned> rested{0};
  RunGate gate([&] { rested++; });
  std::atomic<bool> running{false};
  Threads threads;
  threads.Start([&] {
    CHECK(gate.Wait(false) == Order::kRun);
    running = true;
    // Inside the guest: nobody may find the vCPU resting, whatever was ordered.
    while (running) std::this_thread::yield();
    CHECK(gate.Wait(false) == Order::kStop);
  });
  while (rested == 0) std::this_thread::yield();
  CHECK(gate.resting());
  CHECK(!running);
  gate.Give(Order::kRun);
  CHECK(!gate.resting());
  while (!running) std::this_thread::yield();
  gate.Give(Order::kPause);
  CHECK(!gate.resting());
  running = false;
  while (rested < 2) std::this_thread::yield();
  CHECK(gate.resting());
  gate.Give(Order::kStop);
  threads.Join();
}

TEST("RunGate: a vCPU that has ended waits under kRun, too") {
  std::atomic<unsigned> rested{0};
  RunGate gate([&] { rested++; });
  gate.Give(Order::kRun);
  Threads threads;
  std::atomic<bool> back{false};
  threads.Start([&] {
    CHECK(gate.Wait(true) == Order::kReset);
    back = true;
  });
  while (rested == 0) std::this_thread::yield();
  gate.Give(Order::kPause);
  gate.Give(Order::kRun);
  CHECK(!back);
  gate.Give(Order::kReset);
  threads.Join();
}

TEST("RunGate: a reset ends in a pause, unless something else was ordered meanwhile") {
  RunGate gate([] {});
  gate.Give(Order::kReset);
  CHECK(gate.Wait(false) == Order::kReset);
  gate.Done(Order::kReset);
  gate.Give(Order::kRun);
  CHECK(gate.Wait(false) == Order::kRun);
  gate.Give(Order::kReset);
  CHECK(gate.Wait(false) == Order::kReset);
  gate.Give(Order::kReset);
  gate.Wait(false);
  gate.Done(Order::kReset);
  // Paused: the next `Wait` would wait.
  Threads threads;
  std::atomic<bool> back{false};
  threads.Start([&] {
    gate.Wait(false);
    back = true;
  });
  for (int i = 0; i < 200; i++) std::this_thread::yield();
  CHECK(!back);
  gate.Give(Order::kStop);
  threads.Join();
}

TEST("RunGate: a vCPU that waits for a device rests, and says so if that was ordered before") {
  std::atomic<unsigned> rested{0};
  RunGate gate([&] { rested++; });
  gate.Give(Order::kRun);
  CHECK(gate.Wait(false) == Order::kRun);
  gate.EnterDevice();
  CHECK_EQ(rested.load(), 0u);
  CHECK(!gate.resting());
  gate.Give(Order::kPause);
  CHECK(gate.resting());
  gate.Give(Order::kRun);
  CHECK(gate.Wait(false) == Order::kRun);
  gate.Give(Order::kPause);
  CHECK(!gate.resting());
  gate.EnterDevice();
  CHECK_EQ(rested.load(), 1u);
  CHECK(gate.resting());
}

TEST("RunGate: after a stop no other order counts") {
  RunGate gate([] {});
  gate.Give(Order::kStop);
  gate.Give(Order::kRun);
  gate.Done(Order::kReset);
  CHECK(gate.Wait(false) == Order::kStop);
}

TEST("RunGate: a vCPU at rest until a time counts as resting, and an order ends its rest") {
  std::atomic<unsigned> rested{0};
  RunGate gate([&] { rested++; });
  gate.Give(Order::kRun);
  CHECK(gate.Wait(false) == Order::kRun);
  CHECK(gate.in_guest());
  gate.Rest(std::chrono::steady_clock::now());
  CHECK(!gate.in_guest());
  CHECK_EQ(rested.load(), 0u);
  gate.Give(Order::kPause);
  CHECK(gate.resting());
  // Ordered before: it is reported, and takes no time at all.
  gate.Rest(std::chrono::steady_clock::time_point::max());
  CHECK_EQ(rested.load(), 1u);
}

TEST("RunGate: under stress every pause is reported, and no vCPU runs while it is resting") {
  std::atomic<bool> reported{false};
  RunGate gate([&] { reported = true; });
  std::atomic<bool> in_guest{false};
  Threads threads;
  threads.Start([&] {
    for (unsigned i = 0;; i++) {
      if (gate.Wait(false) == Order::kStop) return;
      in_guest = true;
      for (unsigned spin = 0; spin < i % 64; spin++) std::this_thread::yield();
      in_guest = false;
      if (i % 2 == 0) gate.EnterDevice();
    }
  });
  for (unsigned round = 0; round < 2000; round++) {
    gate.Give(Order::kRun);
    for (unsigned spin = 0; spin < round % 16; spin++) std::this_thread::yield();
    reported = false;
    gate.Give(Order::kPause);
    // The rule of `pause`: resting now, or a report comes.
    while (!gate.resting() && !reported) std::this_thread::yield();
    CHECK(gate.resting());
    CHECK(!in_guest);
  }
  gate.Give(Order::kStop);
  threads.Join();
}

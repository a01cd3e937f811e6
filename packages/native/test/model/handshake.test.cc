// The handshakes of handshake.h in all interleavings of one server and its requesters, as they are and broken on
// purpose: a checker that finds none of the mistakes would prove nothing.
#include <atomic>
#include <cstdio>
#include <deque>
#include <string>

#include "../harness.h"
#include "explore.h"
#include "handshake.h"
#include "ioreq_page.h"

using namespace trapline;
using model::Atomic;
using model::Explorer;
using model::Memory;

namespace {

constexpr int kPending = state::kPending;
constexpr int kProcessing = state::kProcessing;
constexpr int kComplete = state::kComplete;
constexpr int kFree = state::kFree;

/** One mistake at a time. */
enum class Mistake {
  kNone,
  /** The requester looks at the server's flag before it has published its request. */
  kLooksBeforePublishing,
  /** The server looks at the page before it raises its flag. */
  kArmsAfterLooking,
  /** The completer takes the requester's flag: it may be the one raised for the next request. */
  kCompleterTakesFlag,
  /** The same, where the requester raises it once only, not before every sleep. */
  kFlagNotRaisedAgain,
  /** The flag is looked at, not taken. */
  kFlagNotTaken,
  /** The completer looks at the requester's flag before it has stored COMPLETE. */
  kLooksBeforeCompleting,
  // Stores that are not sequentially consistent.
  kWeakPublish,
  kWeakArm,
  kWeakAsleep,
  kWeakComplete,
};

struct Requester {
  int word;
  int asleep;
  /** Sleeps on the futex. */
  int waiting;
};

/** One server and requesters with so many requests each, as IoreqChannel and Poller have them. */
class Scene {
 public:
  Scene(const std::vector<int>& requests, Mistake mistake) : mistake_(mistake) {
    armed_ = explorer_.Variable("armed");
    event_ = explorer_.Variable("eventfd");
    credit_ = explorer_.Variable("arms without a wake-up");
    for (std::size_t i = 0; i < requests.size(); i++) {
      const std::string of = " of requester " + std::to_string(i);
      requesters_.push_back({explorer_.Variable("state" + of, kFree), explorer_.Variable("asleep" + of),
                             explorer_.Variable("futex" + of)});
    }
    explorer_.Thread("server", [this](int label) { return Serve(label); });
    explorer_.MaySleep("server");
    for (std::size_t i = 0; i < requests.size(); i++) {
      explorer_.Thread("requester " + std::to_string(i), [this, i, count = requests[i]](int label) {
        Request(requesters_[i], label % 2 == 0);
        return label + 1 < 2 * count ? label + 1 : model::kEnd;
      });
    }
    explorer_.Always("more wake-ups than Arms", [credit = credit_](const Explorer::State& state) {
      return Explorer::Value(state, credit) >= 0;
    });
  }

  model::Result Explore(Memory memory) { return explorer_.Explore(memory); }

 private:
  /** The server's flag, which remembers whether the server has taken it down itself. */
  struct Flag {
    Atomic own;
    bool withdrawn = false;
    void store(int value, std::memory_order order = std::memory_order_seq_cst) { own.store(value, order); }
    int exchange(int value) {
      const int old = own.exchange(value);
      withdrawn = old != 0;
      return old;
    }
  };

  Atomic Of(int variable, Mistake weak) {
    return {explorer_, variable, mistake_ == weak ? std::memory_order_release : std::memory_order_seq_cst};
  }

  // IoreqChannel::Post, and in a round of its own IoreqChannel::Await.
  void Request(const Requester& own, bool post) {
    Atomic word = Of(own.word, Mistake::kWeakPublish);
    if (post) {
      if (mistake_ == Mistake::kLooksBeforePublishing) AnnounceIt();
      word.store(kPending);
      if (mistake_ != Mistake::kLooksBeforePublishing) AnnounceIt();
      return;
    }
    Atomic asleep = Of(own.asleep, Mistake::kWeakAsleep);
    const auto sleep = [&](int seen) {
      if (mistake_ == Mistake::kCompleterTakesFlag) asleep.store(1);
      explorer_.FutexWait(own.word, seen, own.waiting);
    };
    SleepUntilComplete(word, asleep, kComplete, sleep);
    word.store(kFree, std::memory_order_release);
  }

  void AnnounceIt() {
    Atomic armed = Of(armed_, Mistake::kNone);
    const auto wake = [&] {
      explorer_.Note("one fewer of", credit_, [](int old) { return old - 1; });
      explorer_.Raise("wake", event_);
    };
    if (mistake_ != Mistake::kFlagNotTaken) {
      Announce(armed, wake);
    } else if (armed.load()) {
      wake();
    }
  }

  // The pump: Poller::Take, and what is taken is completed; if there was nothing, Poller::Arm and sleep. The label
  // says which slot is looked at, and whether one before it was taken.
  int Serve(int label) {
    const int slots = static_cast<int>(requesters_.size());
    if (label / 2 < slots) {
      const bool found = Take(requesters_[static_cast<std::size_t>(label / 2)]) || label % 2 == 1;
      const int next = label / 2 + 1;
      return next == slots && found ? 0 : 2 * next + (found ? 1 : 0);
    }
    if (label % 2 == 0) {
      explorer_.Note("one more of", credit_, [](int old) { return old + 1; });
      return ArmIt() ? label + 1 : 0;
    }
    explorer_.AwaitAndClear(event_);
    return 0;
  }

  bool Take(const Requester& one) {
    Atomic word = Of(one.word, Mistake::kWeakComplete);
    int expected = kPending;
    if (word.load(std::memory_order_relaxed) != kPending) return false;
    if (!word.compare_exchange_strong(expected, kProcessing)) return false;
    Complete(word, one);
    return true;
  }

  // IoreqChannel::Complete, or JavaScript's.
  void Complete(Atomic& word, const Requester& one) {
    Atomic asleep = Of(one.asleep, Mistake::kNone);
    const auto wake = [&] { explorer_.Clear("futex wake", one.waiting); };
    const auto wake_it = [&] {
      if (mistake_ != Mistake::kCompleterTakesFlag && mistake_ != Mistake::kFlagNotRaisedAgain) {
        WakeAsleep(asleep, wake);
      } else if (asleep.load() != 0 && asleep.exchange(0) != 0) {
        wake();
      }
    };
    if (mistake_ == Mistake::kLooksBeforeCompleting) wake_it();
    if (mistake_ == Mistake::kWeakComplete) {
      word.store(kComplete);
    } else {
      int expected = kProcessing;
      word.compare_exchange_strong(expected, kComplete);
    }
    if (mistake_ != Mistake::kLooksBeforeCompleting) wake_it();
  }

  bool ArmIt() {
    Flag armed{Of(armed_, Mistake::kWeakArm)};
    const auto pending = [&] {
      for (const Requester& one : requesters_) {
        if (Atomic(explorer_, one.word).load() == kPending) return true;
      }
      return false;
    };
    bool done = false;
    if (mistake_ != Mistake::kArmsAfterLooking) {
      done = Arm(armed, pending);
    } else if (!pending()) {
      armed.store(1);
      done = true;
    }
    // Nobody will wake us for this one.
    if (!done && armed.withdrawn) explorer_.Note("one fewer of", credit_, [](int old) { return old - 1; });
    return done;
  }

  const Mistake mistake_;
  Explorer explorer_;
  int armed_ = 0, event_ = 0, credit_ = 0;
  std::vector<Requester> requesters_;
};

}  // namespace

namespace {

std::string Shown(const std::vector<int>& requests) {
  std::string text;
  for (int count : requests) text += (text.empty() ? "" : " + ") + std::to_string(count);
  return text + " requests";
}

/** In none of the interleavings may anything be wrong. */
void MustHold(const std::vector<int>& requests, Memory memory) {
  const model::Result result = Scene(requests, Mistake::kNone).Explore(memory);
  std::printf("     %s: %zu states, %zu steps, all interleavings\n", Shown(requests).c_str(), result.states, result.steps);
  if (!result.trace.empty()) test::Fail("\n" + result.trace);
}

/** The mistake must be found; `ends` is how. */
void MustBreak(Mistake mistake, const std::vector<int>& requests, Memory memory, const std::string& ends) {
  const model::Result result = Scene(requests, mistake).Explore(memory);
  std::printf("     found after %zu states:\n%s", result.states, result.trace.c_str());
  CHECK(result.trace.ends_with("  " + ends + "\n"));
}

constexpr const char* kLost = "everybody sleeps, and somebody has not ended";

/** A mistake that x86's store buffers make, and nothing else. */
void MustBreakOnTsoOnly(Mistake mistake, const std::vector<int>& requests) {
  CHECK_EQ(Scene(requests, mistake).Explore(Memory::kSequential).trace, "");
  MustBreak(mistake, requests, Memory::kTso, kLost);
}

}  // namespace

TEST("handshake: one requester and the server never both sleep") {
  MustHold({1}, Memory::kSequential);
  MustHold({2}, Memory::kSequential);
}

TEST("handshake: one requester and the server never both sleep with the store buffers of x86") {
  MustHold({1}, Memory::kTso);
  MustHold({2}, Memory::kTso);
}

TEST("handshake: two requesters and the server never all sleep, and an Arm is one wake-up") {
  MustHold({1, 1}, Memory::kSequential);
}

TEST("handshake: two requesters with two requests each never sleep for good") {
  MustHold({2, 1}, Memory::kSequential);
  MustHold({2, 2}, Memory::kSequential);
}

TEST("handshake: two requesters never sleep for good with the store buffers of x86") {
  MustHold({1, 1}, Memory::kTso);
  MustHold({2, 1}, Memory::kTso);
}

TEST("handshake broken: the flag is looked at before the request is published") {
  MustBreak(Mistake::kLooksBeforePublishing, {1}, Memory::kSequential, kLost);
}

TEST("handshake broken: the server arms after it has looked") {
  MustBreak(Mistake::kArmsAfterLooking, {1}, Memory::kSequential, kLost);
}

TEST("handshake broken: the completer takes the requester's flag") {
  // Also where it is raised again before every sleep: between that and the sleep it may be taken for the last request.
  MustBreak(Mistake::kCompleterTakesFlag, {2}, Memory::kSequential, kLost);
  MustBreak(Mistake::kFlagNotRaisedAgain, {2}, Memory::kSequential, kLost);
}

TEST("handshake broken: the server's flag is looked at and not taken") {
  MustBreak(Mistake::kFlagNotTaken, {1, 1}, Memory::kSequential, "more wake-ups than Arms");
}

TEST("handshake broken: the requester's flag is looked at before COMPLETE is stored") {
  MustBreak(Mistake::kLooksBeforeCompleting, {1}, Memory::kSequential, kLost);
}

TEST("handshake broken on x86: the request is published by a release store") {
  MustBreakOnTsoOnly(Mistake::kWeakPublish, {1});
}

TEST("handshake broken on x86: the server's flag is raised by a release store") {
  MustBreakOnTsoOnly(Mistake::kWeakArm, {1});
}

TEST("handshake on x86: the requester's flag is in memory before it sleeps, because a futex is a barrier") {
  CHECK_EQ(Scene({2}, Mistake::kWeakAsleep).Explore(Memory::kTso).trace, "");
}

TEST("handshake broken on x86: COMPLETE is a release store") { MustBreakOnTsoOnly(Mistake::kWeakComplete, {1}); }

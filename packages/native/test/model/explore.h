// An exhaustive model checker for a handful of threads over a handful of atomic variables. It runs the real code: a
// template of ours over `model::Atomic` in place of std::atomic, each operation of which is a place where any other
// thread may go on.
//
// A thread is a function that is called round after round; within a round what it does depends on nothing but the
// round's label and the results of its operations. So a state needs no stack: it is the variables and, for each
// thread, its label and the results so far, and a thread makes its next step by running its round again from the
// start, the known results replayed, until the operation after the next one. States that were met before are not
// explored again, which makes all interleavings of loops finite work.
//
// Memory is sequentially consistent, or as on x86 (TSO): then a store that is not sequentially consistent waits in its
// thread's store buffer, from where it comes to memory in order, at any later time. Loads are in order in both, as they
// are on x86; what a compiler might reorder is not modelled.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace trapline::model {

enum class Memory { kSequential, kTso };

/** What a round returns to end its thread. */
inline constexpr int kEnd = -1;

struct Result {
  std::size_t states = 0;
  std::size_t steps = 0;
  /** What was found to be wrong, with the steps that lead there; empty: nothing, in no interleaving. */
  std::string trace;
};

class Explorer {
 public:
  /** All variables together, by number. */
  struct State {
    struct Thread {
      std::int8_t label = 0;
      /** Of this round's operations. */
      std::string results;
      /** Stores that wait: variable and value, the oldest first. */
      std::string buffer;
    };
    std::string variables;
    std::vector<Thread> threads;
  };

  int Variable(std::string name, int initial = 0) {
    names_.push_back(std::move(name));
    initial_.variables.push_back(static_cast<char>(initial));
    return static_cast<int>(names_.size()) - 1;
  }
  /** @param round gets the label that the last round returned, 0 at first, and returns the next one */
  void Thread(std::string name, std::function<int(int label)> round) {
    threads_.push_back({std::move(name), std::move(round)});
    initial_.threads.emplace_back();
  }
  /** Must hold in every state. */
  void Always(std::string what, std::function<bool(const State&)> holds) {
    always_.push_back({std::move(what), std::move(holds)});
  }
  /** Threads that need not have ended where nothing can go on: servers. */
  void MaySleep(std::string name) { may_sleep_.push_back(std::move(name)); }

  static int Value(const State& state, int variable) {
    return static_cast<std::int8_t>(state.variables[static_cast<std::size_t>(variable)]);
  }

  /** Looks at every state that can be reached, nearest first: a trace is among the shortest. */
  Result Explore(Memory memory) {
    memory_ = memory;
    std::unordered_map<std::string, std::size_t> known;
    // The keys of a map of this kind stay where they are.
    std::vector<Node> nodes;
    Result result;
    const auto meet = [&](const State& state, std::size_t from, int step) {
      const auto [at, fresh] = known.emplace(Encode(state), nodes.size());
      if (fresh) nodes.push_back({&at->first, from, step});
    };
    meet(initial_, 0, -1);
    for (std::size_t at = 0; at < nodes.size(); at++) {
      const State state = Decode(*nodes[at].key);
      for (const auto& [what, holds] : always_) {
        if (!holds(state)) return Wrong(result, nodes, at, what);
      }
      bool stuck = true;
      for (int step = 0; step < 2 * static_cast<int>(threads_.size()); step++) {
        auto next = Step(state, step);
        if (!next) continue;
        stuck = false;
        result.steps++;
        meet(*next, at, step);
      }
      if (stuck && !AllEnded(state)) return Wrong(result, nodes, at, "everybody sleeps, and somebody has not ended");
    }
    result.states = nodes.size();
    return result;
  }

  // --- what threads do, through `Atomic` and the functions below -----------------------------------

  /**
   * One operation: a place where others may go on.
   * @param effect on the state; gives the result, or nothing while the thread has to wait
   * @param used whether what the thread does may depend on the result: states that differ in others are the same
   */
  template <typename Effect>
  int Operate(std::string_view what, int variable, bool used, Effect effect) {
    const std::string& known = now_->threads[thread_].results;
    if (replayed_ < known.size()) return static_cast<std::int8_t>(known[replayed_++]);
    if (stepped_) throw Stop{};
    const std::optional<int> result = effect(*now_);
    if (!result) throw Stop{};
    stepped_ = true;
    now_->threads[thread_].results.push_back(used ? static_cast<char>(*result) : '\0');
    replayed_++;
    if (log_ != nullptr) {
      *log_ += "  " + threads_[thread_].name + ": " + std::string(what) + " " +
               names_[static_cast<std::size_t>(variable)] + " -> " + std::to_string(*result) + "\n";
    }
    return used ? *result : 0;
  }

  int Load(int variable) {
    return Operate("load", variable, true, [&](State& state) -> std::optional<int> {
      const std::string& buffer = state.threads[thread_].buffer;
      for (std::size_t i = buffer.size(); i > 0; i -= 2) {
        if (buffer[i - 2] == static_cast<char>(variable)) return static_cast<std::int8_t>(buffer[i - 1]);
      }
      return Value(state, variable);
    });
  }
  void Store(int variable, int value, std::memory_order order) {
    if (memory_ == Memory::kSequential || order == std::memory_order_seq_cst) {
      Operate("store", variable, false, [&](State& state) -> std::optional<int> {
        Drain(state);
        Set(state, variable, value);
        return value;
      });
      return;
    }
    Operate("store into the buffer", variable, false, [&](State& state) -> std::optional<int> {
      state.threads[thread_].buffer.push_back(static_cast<char>(variable));
      state.threads[thread_].buffer.push_back(static_cast<char>(value));
      return value;
    });
  }
  /** A read-modify-write, or anything else that empties the store buffer, as a system call does. @returns the old value */
  template <typename Change>
  int Modify(std::string_view what, int variable, Change change) {
    return Operate(what, variable, true, [&](State& state) -> std::optional<int> {
      Drain(state);
      const int old = Value(state, variable);
      Set(state, variable, change(old));
      return old;
    });
  }
  /** Bookkeeping of the test's own: changes nothing else, and leaves the store buffer alone. */
  template <typename Change>
  void Note(std::string_view what, int variable, Change change) {
    Operate(what, variable, false, [&](State& state) -> std::optional<int> {
      const int now = change(Value(state, variable));
      Set(state, variable, now);
      return now;
    });
  }
  /** A system call that makes `variable` 1: a write to an eventfd, whose count does not matter. */
  void Raise(std::string_view what, int variable) { Put(what, variable, 1); }
  /** A system call that makes it 0. */
  void Clear(std::string_view what, int variable) { Put(what, variable, 0); }
  /** Waits while `variable` is 0, then sets it to 0: a read of an eventfd. */
  void AwaitAndClear(int variable) {
    Operate("wake up by", variable, false, [&](State& state) -> std::optional<int> {
      Drain(state);
      if (Value(state, variable) == 0) return std::nullopt;
      Set(state, variable, 0);
      return 0;
    });
  }
  /** FUTEX_WAIT: sleeps in `waiting` if `word` has that value, until `waiting` is taken back. */
  void FutexWait(int word, int expected, int waiting) {
    const int sleeps = Operate("futex wait", word, true, [&](State& state) -> std::optional<int> {
      Drain(state);
      const bool same = Value(state, word) == expected;
      if (same) Set(state, waiting, 1);
      return same;
    });
    if (sleeps == 0) return;
    Operate("woken from", waiting, false, [&](State& state) -> std::optional<int> {
      if (Value(state, waiting) != 0) return std::nullopt;
      return 0;
    });
  }

 private:
  /** Ends the run of a round: what comes next is another step's. */
  struct Stop {};
  struct ThreadOf {
    std::string name;
    std::function<int(int)> round;
  };
  struct Node {
    const std::string* key;
    std::size_t from;
    int step;
  };

  /** The oldest store of a thread's buffer comes to memory. */
  static bool Flush(State& state, std::size_t thread) {
    std::string& buffer = state.threads[thread].buffer;
    if (buffer.empty()) return false;
    state.variables[static_cast<std::size_t>(buffer[0])] = buffer[1];
    buffer.erase(0, 2);
    return true;
  }

  void Drain(State& state) const {
    while (Flush(state, thread_)) {
    }
  }
  static void Set(State& state, int variable, int value) {
    state.variables[static_cast<std::size_t>(variable)] = static_cast<char>(value);
  }
  void Put(std::string_view what, int variable, int value) {
    Operate(what, variable, false, [&](State& state) -> std::optional<int> {
      Drain(state);
      Set(state, variable, value);
      return value;
    });
  }

  /** Step 2t: thread t goes on; 2t+1: the oldest store of its buffer comes to memory. */
  std::optional<State> Step(const State& before, int step) {
    const auto thread = static_cast<std::size_t>(step / 2);
    State state = before;
    if (step % 2 == 1) {
      if (!Flush(state, thread)) return std::nullopt;
      if (log_ != nullptr) *log_ += "  " + threads_[thread].name + ": (a buffered store comes to memory)\n";
      return state;
    }
    State::Thread& own = state.threads[thread];
    if (own.label == kEnd) return std::nullopt;
    now_ = &state;
    thread_ = thread;
    replayed_ = 0;
    stepped_ = false;
    try {
      const int next = threads_[thread].round(own.label);
      own.label = static_cast<std::int8_t>(next);
      own.results.clear();
    } catch (const Stop&) {
      if (!stepped_) return std::nullopt;
    }
    return state;
  }

  bool AllEnded(const State& state) const {
    for (std::size_t i = 0; i < threads_.size(); i++) {
      bool may_sleep = false;
      for (const std::string& name : may_sleep_) may_sleep = may_sleep || name == threads_[i].name;
      if (!may_sleep && state.threads[i].label != kEnd) return false;
    }
    return true;
  }

  Result Wrong(Result result, const std::vector<Node>& nodes, std::size_t at, const std::string& what) {
    std::vector<int> steps;
    for (std::size_t node = at; node != 0; node = nodes[node].from) steps.push_back(nodes[node].step);
    State state = initial_;
    log_ = &result.trace;
    for (auto step = steps.rbegin(); step != steps.rend(); ++step) state = *Step(state, *step);
    log_ = nullptr;
    result.trace += "  " + what + "\n";
    result.states = nodes.size();
    return result;
  }

  static std::string Encode(const State& state) {
    std::string key = state.variables;
    for (const State::Thread& thread : state.threads) {
      key.push_back(static_cast<char>(thread.label));
      for (const std::string* part : {&thread.results, &thread.buffer}) {
        key.push_back(static_cast<char>(part->size()));
        key += *part;
      }
    }
    return key;
  }
  State Decode(const std::string& key) const {
    State state;
    state.variables = key.substr(0, names_.size());
    std::size_t at = names_.size();
    for (std::size_t i = 0; i < threads_.size(); i++) {
      State::Thread& thread = state.threads.emplace_back();
      thread.label = static_cast<std::int8_t>(key[at++]);
      for (std::string* part : {&thread.results, &thread.buffer}) {
        const auto size = static_cast<std::size_t>(key[at++]);
        *part = key.substr(at, size);
        at += size;
      }
    }
    return state;
  }

  std::vector<std::string> names_;
  std::vector<ThreadOf> threads_;
  std::vector<std::pair<std::string, std::function<bool(const State&)>>> always_;
  std::vector<std::string> may_sleep_;
  State initial_;
  Memory memory_ = Memory::kSequential;
  // Of the step that is being made.
  State* now_ = nullptr;
  std::size_t thread_ = 0;
  std::size_t replayed_ = 0;
  bool stepped_ = false;
  std::string* log_ = nullptr;
};

/** Plays std::atomic. */
class Atomic {
 public:
  using value_type = int;

  /** @param strongest what the stores are at most, whatever they ask for: to see what a weaker one breaks */
  Atomic(Explorer& explorer, int variable, std::memory_order strongest = std::memory_order_seq_cst)
      : explorer_(explorer), variable_(variable), strongest_(strongest) {}

  int load(std::memory_order = std::memory_order_seq_cst) const { return explorer_.Load(variable_); }
  void store(int value, std::memory_order order = std::memory_order_seq_cst) {
    explorer_.Store(variable_, value, strongest_ == std::memory_order_seq_cst ? order : strongest_);
  }
  int exchange(int value, std::memory_order = std::memory_order_seq_cst) {
    return explorer_.Modify("exchange", variable_, [&](int) { return value; });
  }
  bool compare_exchange_strong(int& expected, int desired, std::memory_order = std::memory_order_seq_cst) {
    const int old = explorer_.Modify("compare-exchange", variable_, [&](int is) { return is == expected ? desired : is; });
    return std::exchange(expected, old) == old;
  }

 private:
  Explorer& explorer_;
  const int variable_;
  const std::memory_order strongest_;
};

}  // namespace trapline::model

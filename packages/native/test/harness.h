// A test harness in one header and `main.cc`: every test runs in a process of its own, so that a crash, a sanitizer's
// report or a thread that hangs is the failure of one named test.
#pragma once

#include <cstdio>
#include <exception>
#include <functional>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace trapline::test {

/** An expectation that did not hold. */
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/** What the test needs is not here; says what. */
struct Skip : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/** Says what did not hold, at once: threads that wait for the failed one may never let the test end. */
[[noreturn]] inline void Fail(const std::string& message) {
  std::printf("     %s\n", message.c_str());
  throw Failure(message);
}

/** Puts a test on the list; see `TEST`. */
struct Registration {
  Registration(const char* name, void (*body)());
};

template <typename Value>
std::string Shown(const Value& value) {
  std::ostringstream text;
  if constexpr (std::is_enum_v<Value>) {
    text << static_cast<long long>(value);
  } else if constexpr (requires { text << value; }) {
    text << value;
  } else if constexpr (requires { value.has_value(); }) {
    text << (value ? Shown(*value) : "nothing");
  } else {
    text << "a value";
  }
  return text.str();
}

inline void Check(bool holds, const char* what, const char* file, int line, const std::string& more = {}) {
  if (holds) return;
  const std::string path(file);
  Fail(path.substr(path.rfind('/') + 1) + ":" + std::to_string(line) + ": " + what + more);
}

template <typename A, typename B>
void CheckEqual(const A& actual, const B& expected, const char* what, const char* file, int line) {
  if (actual == expected) return;
  Check(false, what, file, line, " is " + Shown(actual) + ", not " + Shown(expected));
}

/** Threads that are joined, and whose first failure is the test's. */
class Threads {
 public:
  Threads() = default;
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
  ~Threads() {
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }

  void Start(std::function<void()> body) {
    threads_.emplace_back([this, body = std::move(body)] {
      try {
        body();
      } catch (...) {
        std::lock_guard lock(mutex_);
        if (!failure_) failure_ = std::current_exception();
      }
    });
  }
  /** Waits for all of them, then throws what the first to fail threw. */
  void Join() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

 private:
  std::mutex mutex_;
  std::exception_ptr failure_;
  std::vector<std::thread> threads_;
};

}  // namespace trapline::test

#define TRAPLINE_JOIN_(a, b) a##b
#define TRAPLINE_JOIN(a, b) TRAPLINE_JOIN_(a, b)

/** `TEST("what holds") { ... }`; names are unique: `npm run mutate:native` refers to them. */
#define TEST(name)                                                                                      \
  static void TRAPLINE_JOIN(Test, __LINE__)();                                                          \
  static const ::trapline::test::Registration TRAPLINE_JOIN(kTest, __LINE__)(name, TRAPLINE_JOIN(Test, __LINE__)); \
  static void TRAPLINE_JOIN(Test, __LINE__)()

#define CHECK(condition) ::trapline::test::Check(static_cast<bool>(condition), #condition, __FILE__, __LINE__)
#define CHECK_EQ(actual, expected) ::trapline::test::CheckEqual(actual, expected, #actual, __FILE__, __LINE__)
/** Evaluates to the exception. */
#define CHECK_THROWS(Type, expression)                                                    \
  [&]() -> Type {                                                                         \
    try {                                                                                 \
      expression;                                                                         \
    } catch (const Type& thrown) {                                                        \
      return thrown;                                                                      \
    }                                                                                     \
    ::trapline::test::Fail(std::string(#expression) + " threw no " #Type);                \
  }()

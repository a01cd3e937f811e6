#include "pausables.h"

#include <list>
#include <mutex>

namespace trapline {

namespace {

struct Registry {
  std::mutex mutex;
  std::list<Pausable*> all;
};

// Never destroyed: threads still use it while a process exits.
Registry& Everyone() {
  static auto* const registry = new Registry;
  return *registry;
}

}  // namespace

Pausable::Pausable(const void* loop, std::function<void(bool)> hold) : loop_(loop), hold_(std::move(hold)) {
  std::lock_guard lock(Everyone().mutex);
  Everyone().all.push_back(this);
}

Pausable::~Pausable() {
  std::lock_guard lock(Everyone().mutex);
  Everyone().all.remove(this);
}

void Pausable::Hold(const void* loop) {
  std::lock_guard lock(Everyone().mutex);
  for (Pausable* one : Everyone().all) {
    if ((loop == nullptr || one->loop_ == loop) && one->holds_++ == 0) one->hold_(true);
  }
}

void Pausable::Release(const void* loop) {
  std::lock_guard lock(Everyone().mutex);
  for (Pausable* one : Everyone().all) {
    // One that came after the hold was never held.
    if ((loop == nullptr || one->loop_ == loop) && one->holds_ > 0 && --one->holds_ == 0) one->hold_(false);
  }
}

}  // namespace trapline

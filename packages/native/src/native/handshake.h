// The two places where one thread sleeps and another must wake it, as functions over whatever plays the atomics: the
// addon uses std::atomic, the model checker (packages/native/test) its own, so that what is checked is this code.
//
// Both have the shape of Dekker's algorithm: each side stores its own word and then looks at the other's. All four
// accesses are sequentially consistent, so at least one side sees the other's store: either the sleeper finds what it
// would wait for, or the waker finds the flag. docs/native.md has the argument in full.
#pragma once

namespace trapline {

/**
 * The requester's side, after it has published its request: wakes the server if it is armed. Only the exchange that
 * takes the flag wakes, so there is one wake for each `Arm`, however many requesters there are.
 */
template <typename Flag, typename Wake>
void Announce(Flag& armed, Wake wake) {
  if (armed.load() && armed.exchange(false)) wake();
}

/**
 * The server's side, before it sleeps.
 * @param pending looks at every word a requester may have published
 * @returns false if there is work now: the flag is down then, unless a requester took it, whose wake is on its way
 */
template <typename Flag, typename Pending>
bool Arm(Flag& armed, Pending pending) {
  armed.store(true);
  if (!pending()) return true;
  armed.exchange(false);
  return false;
}

/**
 * The requester's side: sleeps until its request is complete.
 * @param complete the word's value that ends the wait
 * @param sleep sleeps while the word still has the value given (a futex), and may wake for no reason
 */
template <typename Word, typename Flag, typename Sleep>
void SleepUntilComplete(const Word& word, Flag& asleep, typename Word::value_type complete, Sleep sleep) {
  asleep.store(1);
  for (auto seen = word.load(); seen != complete; seen = word.load()) sleep(seen);
  asleep.store(0);
}

/**
 * The server's side, after it has stored COMPLETE: wakes the requester if it may be asleep. It does not take the flag,
 * which only the requester lowers: a server that is late would take the one raised for the requester's next request,
 * and wake nobody, because that one has not come to its sleep yet.
 */
template <typename Flag, typename Wake>
void WakeAsleep(const Flag& asleep, Wake wake) {
  if (asleep.load() != 0) wake();
}

}  // namespace trapline

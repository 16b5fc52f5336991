// A mutex that a forked child finds free: the thread that held it lives in the parent alone.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <mutex>

namespace jadce {

class ForkMutex {
 public:
  ForkMutex() : held_(new Held{getpid(), {}}) {}
  ~ForkMutex() { delete held_.load(); }
  ForkMutex(const ForkMutex&) = delete;
  ForkMutex& operator=(const ForkMutex&) = delete;

  void lock() {
    Held* held = held_.load(std::memory_order_acquire);
    while (held->pid != getpid()) {
      Held* const fresh = new Held{getpid(), {}};
      if (held_.compare_exchange_strong(held, fresh)) {
        held = fresh;  // the parent's is left as it is: it may be locked for good
      } else {
        delete fresh;
      }
    }
    held->mutex.lock();
  }
  void unlock() { held_.load(std::memory_order_acquire)->mutex.unlock(); }

 private:
  struct Held {
    pid_t pid;
    std::mutex mutex;
  };
  std::atomic<Held*> held_;
};

}  // namespace jadce

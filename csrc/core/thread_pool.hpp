// A small pool of threads of our own: torch brings an OpenMP runtime, and sharing it would tie our thread counts to
// its.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace jadce {

class ThreadPool {
 public:
  // Runs task `index` of a job on thread `thread` (0 is the caller).
  using Task = void (*)(void* context, std::int64_t index, int thread);

  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return size_; }

  // Runs tasks 0 ... count - 1 and returns when all are done. Tasks must not depend on which thread runs them.
  void run(Task task, void* context, std::int64_t count);

  template <class F>
  void each(std::int64_t count, F&& body) {
    run([](void* f, std::int64_t index, int thread) { (*static_cast<F*>(f))(index, thread); }, &body, count);
  }

 private:
  struct State;
  void work(int thread);
  void stop();

  int size_;
  std::int64_t pid_;
  State* state_;
  std::vector<std::thread> workers_;
};

}  // namespace jadce

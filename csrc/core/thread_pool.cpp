#include "core/thread_pool.hpp"

#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <exception>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace jadce {

namespace {

// A worker looks for the next job this long before it sleeps: a detection is a row of short jobs.
constexpr auto kSpin = std::chrono::microseconds(100);

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

}  // namespace

struct ThreadPool::State {
  explicit State(int threads) : shares(static_cast<std::size_t>(threads)) {}

  // Tasks of a thread: neighbours, and the same ones in jobs of the same size, so that what one job leaves in a
  // processor's cache is there for the next one.
  struct alignas(64) Share {
    std::atomic<std::int64_t> next{0};
    std::int64_t end = 0;
  };

  std::mutex mutex;
  std::condition_variable wake;
  std::atomic<std::uint64_t> generation{0};
  bool stop = false;
  struct Job {
    Task task = nullptr;
    void* context = nullptr;
  };
  Job job;  // read and written under the mutex
  std::vector<Share> shares;
  std::atomic<int> inside{0};
  std::exception_ptr failed;  // what the first task that threw has thrown, under the mutex

  // Works on a copy: the caller takes the job away as soon as every task has been claimed.
  // Whoever has done his share takes tasks of the others.
  void drain(Job mine, int thread) try {
    const std::size_t threads = shares.size();
    for (std::size_t other = 0; other < threads; ++other) {
      Share& share = shares[(static_cast<std::size_t>(thread) + other) % threads];
      for (std::int64_t i; (i = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;)
        mine.task(mine.context, i, thread);
    }
  } catch (...) {
    const std::lock_guard lock(mutex);
    if (!failed) failed = std::current_exception();
  }
};
ThreadPool::ThreadPool(int threads) : size_(threads), pid_(getpid()), state_(new State(threads)) {
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
  } catch (const std::system_error&) {
    stop();
    throw std::runtime_error("threads: this system starts only " + std::to_string(workers_.size() + 1) + " of " +
                             std::to_string(threads));
  }
}

ThreadPool::~ThreadPool() {
  if (pid_ != getpid()) {  // a forked child has no workers to join: it leaves the state behind
    for (auto& worker : workers_) worker.detach();
    return;
  }
  stop();
}

void ThreadPool::stop() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stop = true;
    state_->generation.fetch_add(1);
  }
  state_->wake.notify_all();
  for (auto& worker : workers_) worker.join();
  delete state_;
}

void ThreadPool::run(Task task, void* context, std::int64_t count) {
  State& s = *state_;
  // The caller does all the work in a forked child, where there are no workers to enter the job.
  if (size_ == 1 || count <= 1 || pid_ != getpid()) {
    for (std::int64_t i = 0; i < count; ++i) task(context, i, 0);
    return;
  }
  const State::Job job{task, context};
  {
    std::lock_guard lock(s.mutex);
    s.job = job;
    for (std::int64_t i = 0; i < size_; ++i) {
      State::Share& share = s.shares[static_cast<std::size_t>(i)];
      share.next.store(count * i / size_, std::memory_order_relaxed);
      share.end = count * (i + 1) / size_;
    }
    s.generation.fetch_add(1);
  }
  s.wake.notify_all();
  s.drain(job, 0);
  {
    std::lock_guard lock(s.mutex);
    s.job = {};  // a worker that wakes from now on finds no job
  }
  for (int i = 0; s.inside.load(std::memory_order_acquire) != 0; ++i) {
    if (i < 10'000) {
      relax();
    } else {
      std::this_thread::yield();  // more threads than processors: the worker may be waiting for this one
    }
  }
  if (s.failed) std::rethrow_exception(std::exchange(s.failed, nullptr));
}

void ThreadPool::work(int thread) {
  State& s = *state_;
  std::uint64_t seen = 0;
  for (;;) {
    const auto start = std::chrono::steady_clock::now();
    while (s.generation.load(std::memory_order_acquire) == seen && std::chrono::steady_clock::now() - start < kSpin)
      relax();
    State::Job job;
    {
      std::unique_lock lock(s.mutex);
      s.wake.wait(lock, [&] { return s.generation.load() != seen; });
      seen = s.generation.load();
      if (s.stop) return;
      job = s.job;
      if (job.task == nullptr) continue;
      s.inside.fetch_add(1, std::memory_order_relaxed);
    }
    s.drain(job, thread);
    s.inside.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace jadce

// Thread blocks that run at the same time, on one processor thread (fibers.hpp).
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "emulator/cuda_runtime.h"
#include "emulator/fibers.hpp"

namespace jadce::emulator {

// kPaused: has arrived at a barrier of blocks, and lets others go first. kAtTeam: waits there.
enum class State { kReady, kAtBarrier, kAtWarp, kPaused, kAtTeam, kDone };

struct Copy {
  void* to;
  const void* from;
  std::size_t bytes;
};

struct Fiber {
  State state = State::kReady;
  bool started = false, after_previous = false;
  uint3 index{}, block{};
  Where where, arrived_at;
  unsigned mask = 0, arrived = 0, waited = 0;  // barriers of blocks
  std::uint64_t given = 0;
  Exchange got{};
  std::vector<std::vector<Copy>> copies{1};  // groups of copies; the last one is open
  jmp_buf at;
};

// Blocks that run at the same time.
class Running {
 public:
  // `falling`: threads and blocks in falling instead of rising order.
  Running(const Grid& grid, std::size_t blocks, bool falling, void (*thread)(void*), void* context);
  ~Running();
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  static thread_local Running* now;  // what this thread runs

  // Runs the blocks from number `first` of the grid on. Returns the error, or nothing.
  std::string run(std::size_t first);
  void pause(State state, Where where) {
    fiber().state = state;
    fiber().where = where;
    if (_setjmp(fiber().at) == 0) _longjmp(scheduler_, 1);
  }
  void arrive(Team team, Where where);
  void wait();
  Fiber& fiber() { return fibers_[current_]; }
  unsigned lane() const { return static_cast<unsigned>(current_ % threads_ % 32); }
  std::size_t rank() const { return current_ / threads_; }
  std::size_t blocks() const { return blocks_; }
  unsigned char* memory(std::size_t rank) const { return memory_ + rank * room_; }
  void* of_block(void* own, unsigned rank);

 private:
  static void enter();
  void resume(std::size_t i);
  void fail(std::string what);
  bool release_warp(std::size_t first, std::size_t count);
  std::string release_barrier(std::size_t block);
  std::string run_block(std::size_t block);
  bool release_team();
  std::string stuck() const;
  std::string check_memory(std::size_t block) const;

  Grid grid_;
  bool falling_;
  std::size_t blocks_, threads_, room_;
  std::vector<Fiber> fibers_;  // [blocks, threads]
  std::unique_ptr<unsigned char[]> stacks_;
  unsigned char* memory_;  // [blocks, room]
  std::vector<bool> ended_;
  std::string failure_;
  std::size_t current_ = 0;
  unsigned complete_ = 0;  // barriers of blocks at which all have arrived
  void (*thread_)(void*);
  void* context_;
  jmp_buf scheduler_;
  ucontext_t begin_{}, back_{};
};

}  // namespace jadce::emulator

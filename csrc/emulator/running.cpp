#include "emulator/running.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace jadce::emulator {

namespace {

constexpr std::size_t kStack = 64 * 1024;
constexpr unsigned char kPoison = 0xff;  // NaN as float and double

std::string place(const Where& where) {
  const std::string file = where.file;
  return file.substr(file.rfind('/') + 1) + ":" + std::to_string(where.line);
}

}  // namespace

constinit thread_local Running* Running::now = nullptr;

Running::Running(const Grid& grid, std::size_t blocks, bool falling, void (*thread)(void*), void* context)
    : grid_(grid),
      falling_(falling),
      blocks_(blocks),
      threads_(std::size_t{grid.block.x} * grid.block.y * grid.block.z),
      room_((grid.shared + kGuard + 127) / 128 * 128),
      fibers_(blocks * threads_),
      stacks_(new unsigned char[fibers_.size() * kStack]),
      memory_(new (std::align_val_t{128}) unsigned char[blocks * room_]),
      thread_(thread),
      context_(context) {}

Running::~Running() { ::operator delete[](memory_, std::align_val_t{128}); }

void Running::enter() {
  now->thread_(now->context_);
  now->fiber().state = State::kDone;
  _longjmp(now->scheduler_, 1);
}

// Contexts only make the stacks: switching by longjmp needs no system call.
void Running::resume(std::size_t i) {
  Fiber& fiber = fibers_[i];
  current_ = i;
  threadIdx = fiber.index;
  blockIdx = fiber.block;
  fiber.state = State::kReady;
  if (_setjmp(scheduler_) != 0) return;
  if (fiber.started) _longjmp(fiber.at, 1);
  fiber.started = true;
  getcontext(&begin_);
  begin_.uc_stack.ss_sp = stacks_.get() + i * kStack;
  begin_.uc_stack.ss_size = kStack;
  begin_.uc_link = nullptr;
  makecontext(&begin_, &Running::enter, 0);
  swapcontext(&back_, &begin_);
}

// Ends the launch with an error of the running thread.
void Running::fail(std::string what) {
  failure_ = std::move(what);
  pause(State::kAtTeam, fiber().where);
}

void Running::arrive(Team team, Where where) {
  Fiber& fiber = fibers_[current_];
  if (team == Team::kGrid && !grid_.together) fail("barrier of a grid that is not cooperative at " + place(where));
  if (fiber.arrived != fiber.waited) fail("barrier of blocks: arrived twice without a wait, at " + place(where));
  ++fiber.arrived;
  fiber.arrived_at = where;
  if (rank() % 2 == (falling_ ? 0 : 1)) pause(State::kPaused, where);
}

void Running::wait() {
  Fiber& fiber = fibers_[current_];
  if (fiber.arrived == fiber.waited) fail("barrier of blocks: waits without having arrived");
  ++fiber.waited;
  if (fiber.waited > complete_) pause(State::kAtTeam, fiber.arrived_at);
}

void* Running::of_block(void* own, unsigned other) {
  const auto at = static_cast<std::size_t>(static_cast<unsigned char*>(own) - memory(rank()));
  if (at >= grid_.shared || other >= blocks_) fail("expected an address in shared memory and a block of the cluster");
  return memory(other) + at;
}

// Lets go the lanes of the warp whose awaited others have all come.
bool Running::release_warp(std::size_t first, std::size_t count) {
  bool any = false;
  unsigned left = 0;  // lanes looked at
  for (std::size_t i = 0; i < count; ++i) {
    const Fiber& leader = fibers_[first + i];
    if (leader.state != State::kAtWarp || left >> i & 1u) continue;
    Exchange lanes{};
    bool complete = true;
    for (std::size_t j = 0; j < count && complete; ++j) {
      const Fiber& other = fibers_[first + j];
      if (!(leader.mask >> j & 1u) || other.state == State::kDone) continue;
      complete = other.state == State::kAtWarp && other.mask == leader.mask && other.where.line == leader.where.line;
      lanes.mask |= 1u << j;
      lanes.value[j] = other.given;
    }
    if (!complete || !(lanes.mask >> i & 1u)) continue;
    left |= lanes.mask;
    for (std::size_t j = 0; j < count; ++j) {
      if (!(lanes.mask >> j & 1u)) continue;
      fibers_[first + j].got = lanes;
      fibers_[first + j].state = State::kReady;
    }
    any = true;
  }
  return any;
}

// Lets go the threads of a block, all of which wait at its barrier or have ended.
std::string Running::release_barrier(std::size_t block) {
  Fiber* const begin = fibers_.data() + block * threads_;
  const Fiber* waiting = nullptr;
  std::size_t done = 0;
  for (std::size_t i = 0; i < threads_; ++i) {
    const Fiber& fiber = begin[i];
    done += fiber.state == State::kDone;
    if (fiber.state == State::kAtWarp)
      return "divergent warp operation: lane " + std::to_string(i % 32) + " waits at " + place(fiber.where) +
             " for lanes that do not come";
    if (fiber.state != State::kAtBarrier) continue;
    if (waiting && waiting->where.line != fiber.where.line)
      return "divergent barrier: threads wait at " + place(waiting->where) + " and " + place(fiber.where);
    waiting = &fiber;
  }
  if (waiting && done)
    return "divergent barrier: " + std::to_string(done) + " of " + std::to_string(threads_) + " threads left before " +
           place(waiting->where);
  for (std::size_t i = 0; i < threads_; ++i)
    if (begin[i].state == State::kAtBarrier) begin[i].state = State::kReady;
  return {};
}

// Runs a block until it has ended or depends on others. Returns the error, or nothing.
std::string Running::run_block(std::size_t block) {
  const std::size_t begin = block * threads_, warps = (threads_ + 31) / 32;
  for (;;) {
    // A warp goes on as far as it can by itself: it would run ahead of a barrier that is missing.
    for (std::size_t w = 0; w < warps; ++w) {
      const std::size_t at = 32 * (falling_ ? warps - 1 - w : w), lanes = std::min<std::size_t>(32, threads_ - at);
      do {
        for (std::size_t i = 0; i < lanes; ++i) {
          const std::size_t fiber = begin + at + (falling_ ? lanes - 1 - i : i);
          if (fibers_[fiber].state == State::kReady) resume(fiber);
          if (!failure_.empty()) return failure_;
        }
      } while (release_warp(begin + at, lanes));
    }
    bool outside = false, done = true;
    for (std::size_t i = begin; i < begin + threads_; ++i) {
      outside = outside || fibers_[i].state == State::kPaused || fibers_[i].state == State::kAtTeam;
      done = done && fibers_[i].state == State::kDone;
    }
    if (outside || done) return {};
    if (std::string what = release_barrier(block); !what.empty()) return what;
  }
}

// Lets go what has paused, and what waits for blocks that have all arrived.
bool Running::release_team() {
  complete_ = ~0u;
  for (const Fiber& fiber : fibers_) complete_ = std::min(complete_, fiber.arrived);
  bool any = false;
  for (Fiber& fiber : fibers_) {
    if (fiber.state != State::kPaused && !(fiber.state == State::kAtTeam && fiber.waited <= complete_)) continue;
    fiber.state = State::kReady;
    any = true;
  }
  return any;
}

// What is wrong where nothing goes on.
std::string Running::stuck() const {
  const Fiber* at_team = nullptr;
  const Fiber* inside = nullptr;
  std::size_t done = 0;
  for (const Fiber& fiber : fibers_) {
    if (fiber.state == State::kAtTeam) at_team = &fiber;
    if (fiber.state == State::kAtBarrier || fiber.state == State::kAtWarp) inside = &fiber;
    done += fiber.state == State::kDone;
  }
  if (inside && at_team)
    return "divergent barrier: threads wait at " + place(at_team->where) + " and " + place(inside->where);
  return "divergent barrier of blocks: " + std::to_string(done) + " of " + std::to_string(fibers_.size()) +
         " threads left before " + (at_team ? place(at_team->where) : "it");
}

// What is written beyond the end is an error, and what is written where a block has ended.
std::string Running::check_memory(std::size_t block) const {
  const unsigned char* const begin = memory(block);
  const auto written = [](unsigned char b) { return b != kPoison; };
  if (std::any_of(begin + grid_.shared, begin + grid_.shared + kGuard, written))
    return "write beyond the shared memory of " + std::to_string(grid_.shared) + " bytes";
  if (ended_[block] && std::any_of(begin, begin + grid_.shared, written))
    return "write to the shared memory of a thread block that has ended";
  return {};
}

std::string Running::run(std::size_t first) {
  std::fill(fibers_.begin(), fibers_.end(), Fiber{});
  ended_.assign(blocks_, false);
  complete_ = 0;
  for (std::size_t i = 0; i < fibers_.size(); ++i) {
    const Axes size = grid_.block, all = grid_.grid;
    const auto at = static_cast<unsigned>(i % threads_);
    const std::size_t b = first + i / threads_;
    fibers_[i].index = {at % size.x, at / size.x % size.y, at / size.x / size.y};
    fibers_[i].block = {static_cast<unsigned>(b % all.x), static_cast<unsigned>(b / all.x % all.y),
                        static_cast<unsigned>(b / all.x / all.y)};
  }
  std::memset(memory_, kPoison, blocks_ * room_);
  for (;;) {
    for (std::size_t i = 0; i < blocks_; ++i) {
      const std::size_t block = falling_ ? blocks_ - 1 - i : i;
      if (ended_[block]) continue;
      if (std::string what = run_block(block); !what.empty()) return what;
      const auto begin = fibers_.begin() + static_cast<std::ptrdiff_t>(block * threads_);
      if (!std::all_of(begin, begin + static_cast<std::ptrdiff_t>(threads_),
                       [](const Fiber& f) { return f.state == State::kDone; }))
        continue;
      if (std::string what = check_memory(block); !what.empty()) return what;
      std::memset(memory(block), kPoison, grid_.shared);
      ended_[block] = true;
    }
    if (std::all_of(ended_.begin(), ended_.end(), [](bool ended) { return ended; })) break;
    if (!release_team()) return stuck();
  }
  for (std::size_t block = 0; block < blocks_; ++block)
    if (std::string what = check_memory(block); !what.empty()) return what;
  if (!std::all_of(fibers_.begin(), fibers_.end(), [](const Fiber& f) { return f.after_previous; }))
    return "threads did not wait for the kernel before: expected after_previous() in every thread";
  if (std::any_of(fibers_.begin(), fibers_.end(), [](const Fiber& f) { return f.arrived != f.waited; }))
    return "barrier of blocks: threads that arrived left without a wait";
  return {};
}

}  // namespace jadce::emulator

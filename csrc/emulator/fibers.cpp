#include "emulator/fibers.hpp"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "emulator/cuda_runtime.h"

constinit thread_local uint3 threadIdx{}, blockIdx{};
constinit thread_local dim3 blockDim, gridDim;

namespace jadce::cuda {
alignas(
    16) constinit thread_local unsigned char shared_bytes[emulator::kMostShared + emulator::kGuard];  // core/launch.hpp
}

namespace jadce::emulator {

namespace {

constexpr std::size_t kStack = 64 * 1024;
constexpr unsigned char kPoison = 0xff;  // NaN as float and double

enum class State { kReady, kAtBarrier, kAtWarp, kDone };

struct Copy {
  void* to;
  const void* from;
  std::size_t bytes;
};

struct Fiber {
  State state = State::kReady;
  bool started = false, after_previous = false;
  uint3 index{};
  Where where;
  unsigned mask = 0;
  std::uint64_t given = 0;
  Exchange got{};
  std::vector<std::vector<Copy>> copies{1};  // groups of copies; the last one is open
  jmp_buf at;
};

class Block {
 public:
  // Returns the error, or nothing.
  std::string run(Axes size, void (*thread)(void*), void* context);
  void wait(State state, Where where) {
    fibers_[current_].state = state;
    fibers_[current_].where = where;
    if (_setjmp(fibers_[current_].at) == 0) _longjmp(scheduler_, 1);
  }
  Fiber& fiber() { return fibers_[current_]; }
  unsigned lane() const { return static_cast<unsigned>(current_ % 32); }

 private:
  static void enter();
  void resume(std::size_t i);
  bool release_warp(std::size_t first);
  std::string release_barrier();

  std::vector<Fiber> fibers_;
  std::unique_ptr<unsigned char[]> stacks_;
  std::size_t stack_count_ = 0, current_ = 0;
  void (*thread_)(void*) = nullptr;
  void* context_ = nullptr;
  jmp_buf scheduler_;
  ucontext_t begin_{}, back_{};
};

thread_local Block* block = nullptr;
thread_local std::string error;
thread_local bool falling = false;

std::string place(const Where& where) {
  const std::string file = where.file;
  return file.substr(file.rfind('/') + 1) + ":" + std::to_string(where.line);
}

void Block::enter() {
  block->thread_(block->context_);
  block->fiber().state = State::kDone;
  _longjmp(block->scheduler_, 1);
}

// Contexts only make the stacks: switching by longjmp needs no system call.
void Block::resume(std::size_t i) {
  Fiber& fiber = fibers_[i];
  current_ = i;
  threadIdx = fiber.index;
  fiber.state = State::kReady;
  if (_setjmp(scheduler_) != 0) return;
  if (fiber.started) _longjmp(fiber.at, 1);
  fiber.started = true;
  getcontext(&begin_);
  begin_.uc_stack.ss_sp = stacks_.get() + i * kStack;
  begin_.uc_stack.ss_size = kStack;
  begin_.uc_link = nullptr;
  makecontext(&begin_, &Block::enter, 0);
  swapcontext(&back_, &begin_);
}

// Lets go the lanes of the warp whose awaited others have all come.
bool Block::release_warp(std::size_t first) {
  bool any = false;
  const std::size_t count = std::min<std::size_t>(32, fibers_.size() - first);
  unsigned left = 0;  // lanes looked at
  for (std::size_t i = 0; i < count; ++i) {
    const Fiber& leader = fibers_[first + i];
    if (leader.state != State::kAtWarp || left >> i & 1u) continue;
    Exchange lanes{};
    bool complete = true;
    for (std::size_t j = 0; j < count; ++j) {
      const Fiber& other = fibers_[first + j];
      if (!(leader.mask >> j & 1u) || other.state == State::kDone) continue;
      complete = complete && other.state == State::kAtWarp && other.mask == leader.mask &&
                 other.where.line == leader.where.line;
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

std::string Block::release_barrier() {
  const Fiber* waiting = nullptr;
  std::size_t done = 0;
  for (const Fiber& fiber : fibers_) {
    done += fiber.state == State::kDone;
    if (fiber.state == State::kAtWarp)
      return "divergent warp operation: lane " + std::to_string((&fiber - fibers_.data()) % 32) + " waits at " +
             place(fiber.where) + " for lanes that do not come";
    if (fiber.state != State::kAtBarrier) continue;
    if (waiting && waiting->where.line != fiber.where.line)
      return "divergent barrier: threads wait at " + place(waiting->where) + " and " + place(fiber.where);
    waiting = &fiber;
  }
  if (waiting && done)
    return "divergent barrier: " + std::to_string(done) + " of " + std::to_string(fibers_.size()) +
           " threads left before " + place(waiting->where);
  for (Fiber& fiber : fibers_) fiber.state = State::kReady;
  return {};
}

std::string Block::run(Axes size, void (*thread)(void*), void* context) {
  thread_ = thread;
  context_ = context;
  const std::size_t count = std::size_t{size.x} * size.y * size.z;
  if (stack_count_ < count) {
    stacks_.reset(new unsigned char[count * kStack]);
    stack_count_ = count;
  }
  fibers_.assign(count, Fiber{});
  for (std::size_t i = 0; i < count; ++i) {
    const auto at = static_cast<unsigned>(i);
    fibers_[i].index = {at % size.x, at / size.x % size.y, at / size.x / size.y};
  }
  const std::size_t warps = (count + 31) / 32;
  for (;;) {
    // A warp goes on as far as it can by itself: it would run ahead of a barrier that is missing.
    for (std::size_t w = 0; w < warps; ++w) {
      const std::size_t first = 32 * (falling ? warps - 1 - w : w), lanes = std::min<std::size_t>(32, count - first);
      do {
        for (std::size_t i = 0; i < lanes; ++i) {
          const std::size_t at = first + (falling ? lanes - 1 - i : i);
          if (fibers_[at].state == State::kReady) resume(at);
        }
      } while (release_warp(first));
    }
    if (std::all_of(fibers_.begin(), fibers_.end(), [](const Fiber& f) { return f.state == State::kDone; }))
      return std::all_of(fibers_.begin(), fibers_.end(), [](const Fiber& f) { return f.after_previous; })
                 ? ""
                 : "threads did not wait for the kernel before: expected after_previous() in every thread";
    if (std::string what = release_barrier(); !what.empty()) return what;
  }
}

}  // namespace

void block_barrier(Where where) { block->wait(State::kAtBarrier, where); }

Exchange exchange(unsigned mask, std::uint64_t value, Where where) {
  Fiber& fiber = block->fiber();
  fiber.mask = mask;
  fiber.given = value;
  block->wait(State::kAtWarp, where);
  return block->fiber().got;
}

unsigned lane() { return block->lane(); }

void note_after_previous() { block->fiber().after_previous = true; }

void copy_later(void* to, const void* from, std::size_t bytes) {
  block->fiber().copies.back().push_back({to, from, bytes});
}

void end_copies() { block->fiber().copies.emplace_back(); }

void finish_copies(int pending) {
  std::vector<std::vector<Copy>>& groups = block->fiber().copies;
  while (groups.size() > static_cast<std::size_t>(pending) + 1) {
    for (const Copy& copy : groups.front()) std::memcpy(copy.to, copy.from, copy.bytes);
    groups.erase(groups.begin());
  }
}

const std::string& last_error() { return error; }

void set_reversed(bool reversed) { falling = reversed; }

bool run_grid(Axes grid, Axes size, std::size_t shared, void (*thread)(void*), void* context) {
  const std::size_t threads = std::size_t{size.x} * size.y * size.z;
  error.clear();
  if (threads == 0 || threads > 1024 || size.z > 64)
    error = "expected 1 to 1024 threads in a block, found " + std::to_string(threads);
  else if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    error = "grid out of range";
  else if (shared > kMostShared)
    error =
        "expected at most " + std::to_string(kMostShared) + " bytes of shared memory, found " + std::to_string(shared);
  if (!error.empty()) return false;
  Block fibers;
  block = &fibers;
  gridDim = {grid.x, grid.y, grid.z};
  blockDim = {size.x, size.y, size.z};
  unsigned char* const end = cuda::shared_bytes + shared;
  std::memset(end, kPoison, kGuard);
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = {x, y, z};
        std::memset(cuda::shared_bytes, kPoison, shared);
        error = fibers.run(size, thread, context);
        if (error.empty() && std::any_of(end, end + kGuard, [](unsigned char b) { return b != kPoison; }))
          error = "write beyond the shared memory of " + std::to_string(shared) + " bytes";
        if (!error.empty()) {
          block = nullptr;
          return false;
        }
      }
  block = nullptr;
  return true;
}

}  // namespace jadce::emulator

const char* cudaGetErrorString(cudaError_t what) {
  if (what == cudaErrorLaunchFailure) return jadce::emulator::last_error().c_str();
  return what == cudaErrorInvalidValue ? "invalid argument" : what == cudaErrorNoDevice ? "emulated" : "no error";
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  return cudaErrorNoDevice;
}

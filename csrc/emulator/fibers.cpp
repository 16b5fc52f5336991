#include "emulator/fibers.hpp"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "emulator/cuda_runtime.h"

constinit thread_local uint3 threadIdx{}, blockIdx{};
constinit thread_local dim3 blockDim, gridDim;

namespace jadce::emulator {

namespace {

constexpr std::size_t kStack = 64 * 1024;
constexpr unsigned char kPoison = 0xff;  // NaN as float and double

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

std::string place(const Where& where) {
  const std::string file = where.file;
  return file.substr(file.rfind('/') + 1) + ":" + std::to_string(where.line);
}

// Blocks that run at the same time.
class Running {
 public:
  Running(const Grid& grid, std::size_t blocks, void (*thread)(void*), void* context)
      : grid_(grid),
        blocks_(blocks),
        threads_(std::size_t{grid.block.x} * grid.block.y * grid.block.z),
        room_((grid.shared + kGuard + 127) / 128 * 128),
        fibers_(blocks * threads_),
        stacks_(new unsigned char[fibers_.size() * kStack]),
        memory_(new (std::align_val_t{128}) unsigned char[blocks * room_]),
        thread_(thread),
        context_(context) {}
  ~Running() { ::operator delete[](memory_, std::align_val_t{128}); }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

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

thread_local Running* running = nullptr;
thread_local std::string error;
thread_local bool falling = false;

void Running::enter() {
  running->thread_(running->context_);
  running->fiber().state = State::kDone;
  _longjmp(running->scheduler_, 1);
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
  if (rank() % 2 == (falling ? 0 : 1)) pause(State::kPaused, where);
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
      const std::size_t at = 32 * (falling ? warps - 1 - w : w), lanes = std::min<std::size_t>(32, threads_ - at);
      do {
        for (std::size_t i = 0; i < lanes; ++i) {
          const std::size_t fiber = begin + at + (falling ? lanes - 1 - i : i);
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
      const std::size_t block = falling ? blocks_ - 1 - i : i;
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

// What is wrong with the sizes of a launch, or nothing.
std::string check_sizes(const Grid& grid) {
  const std::size_t threads = std::size_t{grid.block.x} * grid.block.y * grid.block.z;
  if (threads == 0 || threads > 1024 || grid.block.z > 64)
    return "expected 1 to 1024 threads in a block, found " + std::to_string(threads);
  const Axes g = grid.grid;
  if (g.x == 0 || g.y == 0 || g.z == 0 || g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535) return "grid out of range";
  if (grid.shared > kMostShared)
    return "expected at most " + std::to_string(kMostShared) + " bytes of shared memory, found " +
           std::to_string(grid.shared);
  if (grid.cluster > kMostCluster || g.x % grid.cluster != 0)
    return "expected clusters of at most " + std::to_string(kMostCluster) + " blocks that divide the grid's " +
           std::to_string(g.x) + ", found " + std::to_string(grid.cluster);
  const std::size_t each = std::min<std::size_t>({32, 2048 / threads, 228 * 1024 / (grid.shared + 1024)});
  if (grid.together && (grid.cluster > 1 || std::size_t{g.x} * g.y * g.z > kProcessors * each))
    return "expected a cooperative launch of at most " + std::to_string(kProcessors * each) + " blocks, no clusters";
  return {};
}

}  // namespace

void block_barrier(Where where) { running->pause(State::kAtBarrier, where); }

Exchange exchange(unsigned mask, std::uint64_t value, Where where) {
  Fiber& fiber = running->fiber();
  fiber.mask = mask;
  fiber.given = value;
  running->pause(State::kAtWarp, where);
  return running->fiber().got;
}

unsigned lane() { return running->lane(); }

void note_after_previous() { running->fiber().after_previous = true; }

void arrive(Team team, Where where) { running->arrive(team, where); }
void wait() { running->wait(); }
unsigned team_rank() { return static_cast<unsigned>(running->rank()); }
unsigned team_blocks() { return static_cast<unsigned>(running->blocks()); }
void* shared_memory() { return running->memory(running->rank()); }
void* of_block(void* own, unsigned rank) { return running->of_block(own, rank); }

void copy_later(void* to, const void* from, std::size_t bytes) {
  running->fiber().copies.back().push_back({to, from, bytes});
}

void end_copies() { running->fiber().copies.emplace_back(); }

void finish_copies(int pending) {
  std::vector<std::vector<Copy>>& groups = running->fiber().copies;
  while (groups.size() > static_cast<std::size_t>(pending) + 1) {
    for (const Copy& copy : groups.front()) std::memcpy(copy.to, copy.from, copy.bytes);
    groups.erase(groups.begin());
  }
}

const std::string& last_error() { return error; }

void set_reversed(bool reversed) { falling = reversed; }

bool run_grid(const Grid& grid, void (*thread)(void*), void* context) {
  error = check_sizes(grid);
  if (!error.empty()) return false;
  const Axes g = grid.grid, b = grid.block;
  const std::size_t count = std::size_t{g.x} * g.y * g.z, together = grid.together ? count : grid.cluster;
  Running blocks(grid, together, thread, context);
  running = &blocks;
  gridDim = {g.x, g.y, g.z};
  blockDim = {b.x, b.y, b.z};
  for (std::size_t first = 0; first < count && error.empty(); first += together) error = blocks.run(first);
  running = nullptr;
  return error.empty();
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

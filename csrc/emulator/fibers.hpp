// Runs the threads of a block as fibers of one processor thread, so that barriers and warp operations work.
//
// A fiber runs until it waits, a warp until it waits for others, and a block, of several that run at the same time,
// until it waits for others, or if it is every second one, until it has arrived at a barrier of theirs: each would run
// ahead of a barrier that is missing, and of those that have only arrived.
// Errors, told by last_error(): threads that wait at different barriers or after others have left the kernel, halves of
// barriers out of turn, warp operations whose lanes do not come, writes just beyond the dynamic shared memory or to
// that of a block that has ended, threads that end without having called after_previous() (core/launch.hpp), and sizes
// that no device takes. Dynamic shared memory is filled with NaN before a block begins and after it has ended.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace jadce::emulator {

// Place of a call, as a default argument; std::source_location is unknown to Clang before 16.
struct Where {
  const char* file = "";
  unsigned line = 0;

  static constexpr Where current(const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
    return {file, line};
  }
};

inline constexpr int kMostShared = 227 * 1024;  // bytes of dynamic shared memory of one block, compute capability 9.0
inline constexpr int kGuard = 1024;             // bytes beyond that are watched
inline constexpr int kProcessors = 2;           // multiprocessors
inline constexpr unsigned kMostCluster = 8;     // blocks of a cluster that every device with clusters takes

struct Axes {
  unsigned x, y, z;
};

struct Exchange {
  unsigned mask;
  std::array<std::uint64_t, 32> value;
};

// A launch. Blocks run one after another, or as many as are a cluster at the same time, or all of them.
struct Grid {
  Axes grid, block;
  std::size_t shared;
  unsigned cluster = 1;
  bool together = false;
};

void block_barrier(Where where);

// Halves of the barrier of the blocks that run at the same time: `team` says which ones the caller takes them for.
enum class Team { kCluster, kGrid };
void arrive(Team team, Where where);
void wait();
unsigned team_rank();
unsigned team_blocks();
void* shared_memory();
void* of_block(void* own, unsigned rank);

// Waits for all lanes of `mask` that still run, and returns the value of each.
Exchange exchange(unsigned mask, std::uint64_t value, Where where);
unsigned lane();
void note_after_previous();  // every thread of every kernel calls this

// Copies of the running thread that come no sooner than they are waited for; those of a thread that ends are lost.
void copy_later(void* to, const void* from, std::size_t bytes);
void end_copies();                // ends a group
void finish_copies(int pending);  // finishes all groups but the last ones

bool run_grid(const Grid& grid, void (*thread)(void*), void* context);
const std::string& last_error();

// Threads in falling instead of rising order: a result that depends on it shows a missing barrier.
void set_reversed(bool reversed);

}  // namespace jadce::emulator

// Runs the threads of a block as fibers of one processor thread, so that barriers and warp operations work.
//
// A fiber runs until it waits, and a warp until it waits for others. Errors, told by last_error(): threads that wait at
// different barriers or after others have left the kernel, warp operations whose lanes do not come, writes just beyond
// the dynamic shared memory, threads that end without having called after_previous() (core/launch.hpp), and sizes that
// no device takes. Dynamic shared memory is filled with NaN before every block.
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

struct Axes {
  unsigned x, y, z;
};

struct Exchange {
  unsigned mask;
  std::array<std::uint64_t, 32> value;
};

void block_barrier(Where where);
// Waits for all lanes of `mask` that still run, and returns the value of each.
Exchange exchange(unsigned mask, std::uint64_t value, Where where);
unsigned lane();
void note_after_previous();  // every thread of every kernel calls this

// Copies of the running thread that come no sooner than they are waited for; those of a thread that ends are lost.
void copy_later(void* to, const void* from, std::size_t bytes);
void end_copies();                // ends a group
void finish_copies(int pending);  // finishes all groups but the last ones

bool run_grid(Axes grid, Axes block, std::size_t shared, void (*thread)(void*), void* context);
const std::string& last_error();

// Threads in falling instead of rising order: a result that depends on it shows a missing barrier.
void set_reversed(bool reversed);

}  // namespace jadce::emulator

#include "emulator/fibers.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "emulator/cuda_runtime.h"
#include "emulator/running.hpp"

constinit thread_local uint3 threadIdx{}, blockIdx{};
constinit thread_local dim3 blockDim, gridDim;

namespace jadce::emulator {

namespace {

thread_local std::string error;
thread_local bool falling = false;

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

void block_barrier(Where where) { Running::now->pause(State::kAtBarrier, where); }

Exchange exchange(unsigned mask, std::uint64_t value, Where where) {
  Fiber& fiber = Running::now->fiber();
  fiber.mask = mask;
  fiber.given = value;
  Running::now->pause(State::kAtWarp, where);
  return Running::now->fiber().got;
}

unsigned lane() { return Running::now->lane(); }

void note_after_previous() { Running::now->fiber().after_previous = true; }

void arrive(Team team, Where where) { Running::now->arrive(team, where); }
void wait() { Running::now->wait(); }
unsigned team_rank() { return static_cast<unsigned>(Running::now->rank()); }
unsigned team_blocks() { return static_cast<unsigned>(Running::now->blocks()); }
void* shared_memory() { return Running::now->memory(Running::now->rank()); }
void* of_block(void* own, unsigned rank) { return Running::now->of_block(own, rank); }

void copy_later(void* to, const void* from, std::size_t bytes) {
  Running::now->fiber().copies.back().push_back({to, from, bytes});
}

void end_copies() { Running::now->fiber().copies.emplace_back(); }

void finish_copies(int pending) {
  std::vector<std::vector<Copy>>& groups = Running::now->fiber().copies;
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
  Running blocks(grid, together, falling, thread, context);
  Running::now = &blocks;
  gridDim = {g.x, g.y, g.z};
  blockDim = {b.x, b.y, b.z};
  for (std::size_t first = 0; first < count && error.empty(); first += together) error = blocks.run(first);
  Running::now = nullptr;
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

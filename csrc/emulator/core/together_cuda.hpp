// Takes the place of csrc/core/together_cuda.hpp, which says what the functions do.
#pragma once

#include "core/launch.hpp"

namespace jadce::cuda {

inline unsigned cluster_rank() { return emulator::team_rank(); }
inline unsigned cluster_blocks() { return emulator::team_blocks(); }
inline void arrive_cluster(JADCE_EMULATED_WHERE) { emulator::arrive(emulator::Team::kCluster, where); }
inline void wait_cluster() { emulator::wait(); }
template <class T>
T* of_block(T* own, unsigned rank) {
  return static_cast<T*>(emulator::of_block(own, rank));
}
inline void grid_barrier(JADCE_EMULATED_WHERE) {
  emulator::arrive(emulator::Team::kGrid, where);
  emulator::wait();
}

}  // namespace jadce::cuda

#pragma once

#include <cstddef>
#include <cstdint>

namespace jadce::cuda {

struct TreeSumArgs {
  const float* x;  // [count]
  int count, threads;
  float* out;  // [1]
};
void check_tree_sum(const TreeSumArgs&, void* stream);

struct WarpOperationsArgs {
  int threads;
  unsigned* out;  // [9, threads]
};
void check_warp_operations(const WarpOperationsArgs&, void* stream);

struct CountValuesArgs {
  const int* x;  // [count]
  int count;
  int* bins;
};
void check_count_values(const CountValuesArgs&, void* stream);

struct MatrixProductArgs {
  const std::uint32_t* x;  // [16, 8] pairs by rows
  const std::uint32_t* w;  // [32, 4] pairs as by pack_dense_tensor
  bool wait;               // or else the copies have not come
  float* out;              // [16, 16]
};
void check_matrix_product(const MatrixProductArgs&, void* stream);

// x[count] summed by blocks that each take a share and tell the others, over and over: in every round each block adds
// up what all told in the last one. `kind` 0 is right, others leave something out (checks.cu).
struct RoundsArgs {
  const float* x;  // [blocks threads]
  int kind, blocks, threads, cluster, rounds;
  bool together;
  float* told;  // [rounds, blocks], in global memory
  float* out;   // [blocks]
};
void check_rounds(const RoundsArgs&, void* stream);

struct MisuseArgs {
  int kind, threads;
  std::size_t shared;  // bytes
  float* out;          // [threads]
};
void check_misuse(const MisuseArgs&, void* stream);

}  // namespace jadce::cuda

// Kernels that use, or misuse, what the emulator stands in for. Only its own tests run them.
#include "core/tensor_cuda.hpp"
#include "core/together_cuda.hpp"
#include "emulator/checks.hpp"

namespace jadce::cuda {

namespace {

// Sum of x[count] by a tree in shared memory; one block.
__global__ void tree_sum(const float* x, int count, float* out) {
  after_previous();
  float* const part = dynamic_shared<float>();
  const unsigned i = threadIdx.x;
  part[i] = static_cast<int>(i) < count ? x[i] : 0.0f;
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (i < half) part[i] += part[i + half];
  }
  if (i == 0) *out = part[0];
}

// Results that every lane gets from each warp operation: [operation, thread].
__global__ void warp_operations(unsigned* out) {
  after_previous();
  const unsigned i = threadIdx.x, count = blockDim.x, all = ~0u;
  out[0 * count + i] = __shfl_sync(all, i, 3);
  out[1 * count + i] = __shfl_up_sync(all, i, 2);
  out[2 * count + i] = __shfl_down_sync(all, i, 2);
  out[3 * count + i] = __shfl_xor_sync(all, i, 5);
  out[4 * count + i] = __shfl_xor_sync(all, i, 5, 8);
  out[5 * count + i] = __ballot_sync(all, i % 3 == 0);
  out[6 * count + i] = __reduce_add_sync(all, i);
  out[7 * count + i] = __reduce_max_sync(all, i);
  // Halves of a warp on their own, in different branches.
  const unsigned half = i % 32 < 16 ? 0xffffu : 0xffff0000u;
  if (i % 32 < 16)
    out[8 * count + i] = __reduce_add_sync(half, i);
  else
    out[8 * count + i] = __reduce_max_sync(half, i);
}

__global__ void count_values(const int* x, int count, int* bins) {
  after_previous();
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) atomicAdd(bins + x[i], 1);
}

// out [16, 16] = x [16, 16] w', x in pairs by rows, w in pairs as by pack_dense_tensor; one warp. Without `wait` the
// copies have not come.
__global__ void matrix_product(const uint4* x, const uint4* w, bool wait, float* out) {
  after_previous();
  uint4* const shared = dynamic_shared<uint4>();
  const unsigned lane = threadIdx.x;
  copy_async(shared + lane, x + lane);
  commit_copies();
  commit_copies();
  if (wait) wait_copies<1>();
  __syncwarp();
  unsigned a[4];
  load_matrix(a, reinterpret_cast<const unsigned*>(shared) + lane % 16 * 8 + lane / 16 * 4);
  for (unsigned j = 0; j < 2; ++j) {
    float c[4] = {};
    multiply_add(c, a, j ? w[lane].z : w[lane].x, j ? w[lane].w : w[lane].y);
    for (unsigned i = 0; i < 4; ++i) out[(lane / 4 + i / 2 * 8) * 16 + 8 * j + lane % 4 * 2 + i % 2] = c[i];
  }
}

// Sums over blocks, round after round: out[block] = sum over blocks and threads of x, to the power of the round, since
// every round adds the last one's total once a thread. Kinds: 1 no barrier between telling and reading, 2 arrays of the
// exchange too few, 3 a barrier that some threads miss, 4 a block leaves before others have written to it, 5 two
// arrivals, 6 a wait without one.
__global__ void rounds_in_cluster(RoundsArgs a) {
  after_previous();
  float* const told = dynamic_shared<float>();  // [2, cluster], what the blocks told in even and in odd rounds
  float* const part = told + 2 * a.cluster;     // [threads]
  const unsigned i = threadIdx.x, rank = cluster_rank(), count = cluster_blocks();
  float value = a.x[blockIdx.x * blockDim.x + i];
  for (int r = 0; r < a.rounds; ++r) {
    __syncthreads();
    part[i] = value;
    __syncthreads();
    float* const now = told + (a.kind == 2 ? 0 : r % 2 * a.cluster);
    if (i < count) {
      float total = 0.0f;
      for (unsigned j = 0; j < blockDim.x; ++j) total += part[j];
      *of_block(now + rank, i) = total;
    }
    if (a.kind == 3 && i == 5) return;
    if (a.kind != 1 && a.kind != 6) arrive_cluster();
    if (a.kind == 5) arrive_cluster();
    if (a.kind != 1) wait_cluster();
    value = 0.0f;
    for (unsigned j = 0; j < count; ++j) value += now[j];
    value /= static_cast<float>(blockDim.x);
  }
  if (i == 0) a.out[blockIdx.x] = value;
  if (a.kind == 4 && i == 0 && rank + 1 < count) *of_block(told, rank + 1) = value;
  if (a.kind == 4 && i == 0 && rank > 0) *of_block(told, rank - 1) = value;
}

// The same through global memory, by all blocks of the grid.
__global__ void rounds_in_grid(RoundsArgs a) {
  after_previous();
  float* const part = dynamic_shared<float>();  // [threads]
  const unsigned i = threadIdx.x;
  float value = a.x[blockIdx.x * blockDim.x + i];
  for (int r = 0; r < a.rounds; ++r) {
    __syncthreads();
    part[i] = value;
    __syncthreads();
    float* const now = a.told + r * a.blocks;
    if (i == 0) {
      float total = 0.0f;
      for (unsigned j = 0; j < blockDim.x; ++j) total += part[j];
      now[blockIdx.x] = total;
    }
    if (a.kind == 3 && blockIdx.x == 1) return;
    if (a.kind != 1) grid_barrier();
    value = 0.0f;
    for (int j = 0; j < a.blocks; ++j) value += now[j];
    value /= static_cast<float>(blockDim.x);
  }
  if (i == 0) a.out[blockIdx.x] = value;
}

__global__ void misuse(int kind, float* out) {
  if (kind == 6 && threadIdx.x == 5) return;  // a thread that waits for nobody
  after_previous();
  float* const x = dynamic_shared<float>();
  const unsigned i = threadIdx.x;
  switch (kind) {
    case 0:  // a thread leaves before the barrier
      if (i == 5) return;
      __syncthreads();
      break;
    case 1:  // two barriers
      if (i < 7)
        __syncthreads();
      else
        __syncthreads();
      break;
    case 2:  // lanes that do not come
      if (i < 9) out[i] = __shfl_sync(~0u, 1.0f, 0);
      __syncthreads();
      break;
    case 3:  // beyond the end
      x[blockDim.x] = 1.0f;
      break;
    case 4:  // read before anyone wrote
      out[i] = x[i];
      break;
    case 5:  // no barrier between write and read
      x[i] = static_cast<float>(i);
      out[i] = x[(i + 1) % blockDim.x];
      break;
    default:
      break;
  }
}

}  // namespace

void check_tree_sum(const TreeSumArgs& args, void* stream) {
  const auto threads = static_cast<unsigned>(args.threads);
  launch("tree_sum", tree_sum, 1, threads, sizeof(float) * threads, stream, args.x, args.count, args.out);
}

void check_warp_operations(const WarpOperationsArgs& args, void* stream) {
  launch("warp_operations", warp_operations, 1, static_cast<unsigned>(args.threads), 0, stream, args.out);
}

void check_count_values(const CountValuesArgs& args, void* stream) {
  launch("count_values", count_values, blocks(args.count, 64), 64, 0, stream, args.x, args.count, args.bins);
}

void check_matrix_product(const MatrixProductArgs& args, void* stream) {
  launch("matrix_product", matrix_product, 1, 32, 512, stream, reinterpret_cast<const uint4*>(args.x),
         reinterpret_cast<const uint4*>(args.w), args.wait, args.out);
}

void check_rounds(const RoundsArgs& a, void* stream) {
  const auto grid = static_cast<unsigned>(a.blocks), threads = static_cast<unsigned>(a.threads);
  const std::size_t shared = sizeof(float) * static_cast<std::size_t>(a.threads + 2 * a.cluster);
  const Shape shape{grid, threads, shared, static_cast<unsigned>(a.cluster), a.together};
  launch("rounds", a.told ? rounds_in_grid : rounds_in_cluster, shape, stream, a);
}

void check_misuse(const MisuseArgs& args, void* stream) {
  launch("misuse", misuse, 1, static_cast<unsigned>(args.threads), args.shared, stream, args.kind, args.out);
}

}  // namespace jadce::cuda

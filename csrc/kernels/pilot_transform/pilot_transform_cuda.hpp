// Module A on a GPU (docs/math.md, "the state in measurement space").
//
// A launcher takes one struct of arguments. All pointers are device pointers; [shapes] are beside them, with B received
// blocks one after another. Launchers run on `stream` (a cudaStream_t), do not wait, and throw std::runtime_error if a
// kernel cannot be launched. Sums have a fixed order: the same bits on every run.
//
// "Word of the Control" points to a member of the first block's Control (loop/control.hpp); kernels read each block's
// own. Blocks whose `enabled` is zero are left alone; null means that all have work to do. A `count` is at most
// `capacity`, and null means `capacity`.
#pragma once

#include <cstdint>

#include "core/complex_cuda.hpp"
#include "kernels/fft/fft_tables.hpp"
#include "kernels/sizes.hpp"
#include "loop/rules.hpp"

namespace jadce::cuda {

// Number of usable devices; 0 with the reason in `message` if there is none.
int device_count(const char** message);

// Pilots of either kind: rows and twiddle of partial-DFT ones, or else the array.
struct PilotTables {
  const std::int32_t* rows;  // [N, T], or null
  const Complex* twiddle;    // [K] amplitude exp(+2 pi i k / K), or null
  const Complex* array;      // [N, K, T] rotated into the eigenvectors of Q_n Q_n^H, or null
};

// Partial-DFT pilots in the order of their rows: row f has the measurements from row_start[f] to row_start[f + 1].
struct RowOrder {
  const std::int32_t* start;         // [K + 1]
  const std::int32_t* measurements;  // [T N], t * N + n
};

// The part S of the state, which some devices have.
struct SparseParts {
  const std::int32_t* slot = nullptr;  // [B, K], -1 for devices without a part; null: nobody has one
  const Complex* s = nullptr;          // [B, slots, P, M], or null with `slot`
  int slots = 0;
};

// Statistics of some devices, the contract of KernelTable::gather:
//   z[a, p, b] = S[slot[k], p, b] + sum_n conj(basis[n, p]) sum_t conj(q[t, n, k]) r[t, n, b],  k = device[a].
// With v_b they are scaled to unit power. With `mean` the posterior of an i.i.d. Gaussian channel of unit power per
// coefficient comes instead.
struct GatherArgs {
  const Complex* r;  // [B, T, N, M]
  PilotTables pilots;
  const Complex* basis;  // [N, P], or null: identity, P = N
  SparseParts parts;
  const std::int32_t* device;   // [B, capacity]
  const std::int32_t* count;    // word of the Control: devices in the list; or null
  const std::int32_t* enabled;  // word of the Control, or null
  const float* v_b;             // [B, M], or null: nothing but z
  const float* mean_v;          // word of the Control: mean of v_b; null with v_b
  bool known;                   // devices have unit power; else it is measured
  Rules rules;
  int capacity;
  Sizes sizes;
  Complex* z;     // [B, capacity, P, M], null with `mean`
  float* power;   // [B, capacity] each device's; null with v_b
  float* noise;   // [B, capacity, M] v_b / power; null with v_b
  Complex* mean;  // [B, capacity, P, M], or null
  float* var;     // [B, capacity, M], null with `mean`
};
void gather(const GatherArgs&, void* stream);

// Output of all ways to the statistics of all devices: z of gather(), and |z|^2 summed over `merge` neighbouring
// coefficients.
struct StatisticsOutput {
  Complex* z;     // [B, K, P, M], or null
  float* energy;  // [B, groups, M, K], or null
  int merge;
};

// The statistics by one K-point transform per coefficient and beam. Its padded length is at most 14520, else
// std::runtime_error.
struct SpectralArgs {
  const Complex* r;  // [B, T, N, M]
  RowOrder rows;
  float amplitude;
  FftTables fft;         // K points
  const Complex* basis;  // [N, P], or null: identity, P = N
  SparseParts parts;
  const std::int32_t* enabled;  // word of the Control, or null
  Sizes sizes;
  const std::uint8_t* idle;  // [B, K], or null: nothing is summed
  StatisticsOutput out;
  float* idle_energy;  // [B, P, M] sum of |z|^2 over the devices with idle[k] != 0; null with `idle`
};
void spectral(const SpectralArgs&, void* stream);

// The same for more devices, K = K1 K2 with K1 = `first` (fft_split), no prime factor above 31: two launches a
// coefficient.
struct SpectralLargeArgs {
  const Complex* r;  // [B, T, N, M]
  RowOrder rows;
  const Complex* twiddle;  // [K] as in PilotTables
  int first;
  FftTables first_fft, second_fft;  // K1 and K2 points
  const Complex* basis;             // [N, P], or null: identity, P = N
  SparseParts parts;
  const std::int32_t* enabled;  // word of the Control, or null
  Sizes sizes;
  Complex* work;  // [B, M, K]
  StatisticsOutput out;
};
void spectral_large(const SpectralLargeArgs&, void* stream);

// The same for any pilots, by products.
struct DirectArgs {
  const Complex* r;  // [B, T, N, M]
  PilotTables pilots;
  const Complex* basis;  // [N, P], or null: identity, P = N
  SparseParts parts;
  const std::int32_t* enabled;  // word of the Control, or null
  Sizes sizes;
  StatisticsOutput out;
};
void direct(const DirectArgs&, void* stream);

// r = scale y - gram R - Q S.
struct ResidualArgs {
  const Complex* y;      // [B, T, N, M], or null: zero
  const float* scale;    // word of the Control, or null: one
  const float* gram;     // [N, T], null with r_pri
  const Complex* r_pri;  // [B, T, N, M] R, or null: zero
  PilotTables pilots;
  const Complex* basis;         // [N, P], or null: identity, P = N
  const Complex* s;             // [B, capacity, P, M]
  const std::int32_t* device;   // [B, capacity], -1 where S is zero
  const std::int32_t* count;    // word of the Control: entries in use; or null
  const std::int32_t* enabled;  // word of the Control, or null
  int capacity;
  Sizes sizes;
  Complex* r;    // [B, T, N, M]
  float* power;  // [B, N, M] sum over t of |r|^2
};
void residual(const ResidualArgs&, void* stream);

}  // namespace jadce::cuda

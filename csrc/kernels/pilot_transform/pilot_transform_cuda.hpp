// Module A on a GPU (docs/math.md, "the state in measurement space").
//
// All pointers are device pointers, complex numbers are interleaved, indices int32. Launchers run on `stream` (a
// cudaStream_t), do not wait, and throw std::runtime_error if a kernel cannot be launched. Sums have a fixed order: the
// same bits on every run.
//
// `batch` received blocks are handled at once; their arrays lie one after another, shapes are those of one. Where a
// `count` of devices is a pointer it is read on the GPU and at most `capacity`; null means `capacity`. Blocks whose
// `go` is zero are left alone; null means that all go. Both are words of each block's Control (control.hpp).
//
// Pilots are given as rows [N, T] and twiddle [K, 2] = amplitude exp(+2 pi i k / K), or, with rows null, as array
// [N, K, T, 2] rotated into the eigenvectors of Q_n Q_n^H.
#pragma once

#include <cstdint>

#include "loop/rules.hpp"

namespace jadce::cuda {

// Number of usable devices; 0 with the reason in `message` if there is none.
int device_count(const char** message);

// Statistics of some devices, the contract of KernelTable::gather:
//   z[a, p, b] = S[slot[k], p, b] + sum_n conj(basis[n, p]) sum_t conj(q[t, n, k]) r[t, n, b],  k = device[a].
// r [T, N, M, 2], basis [N, P, 2] (here and below null: identity, P = N), device [capacity], z [capacity, P, M, 2] of
// which `count` are written. slot [K] is -1 for devices without a part S [slots, P, M, 2]; slot null means nobody has
// one. With v_b [M] they are scaled to unit power: power [capacity] gets each device's (one if `known`),
// noise [capacity, M] the variances v_b / power. mean_v is a word of the Control, the mean of v_b. With mean [capacity,
// P, M, 2] and var [capacity, M] these get the posterior of an i.i.d. Gaussian channel of unit power per coefficient,
// and z is not written.
void gather(const float* r, const std::int32_t* rows, const float* twiddle, const float* array, const float* basis,
            const std::int32_t* slot, const float* s, const std::int32_t* device, const std::int32_t* count,
            const std::int32_t* go, const float* v_b, const float* mean_v, int known, const Rules& rules, int capacity,
            int devices, int subcarriers, int symbols, int antennas, int coefficients, int slots, int batch, float* z,
            float* power, float* noise, float* mean, float* var, void* stream);

// The same of all devices by one K-point transform per coefficient and beam (partial-DFT pilots): z [K, P, M, 2] and
// energies |z|^2 summed over `merge` neighbouring coefficients, energy [groups, M, K]; either may be null.
// by_row: measurements t * N + n in the order of their DFT rows; row f has those from row_start[f] to row_start[f + 1].
// The transform's tables are FftPlan's. Its padded length is at most 14520, else std::runtime_error.
// With quiet [K], quiet_energy [P, M] gets the sum of |z|^2 over the devices with quiet[k] != 0.
void spectral(const float* r, const std::int32_t* row_start, const std::int32_t* by_row, float amplitude,
              const float* basis, const std::int32_t* slot, const float* s, const float* fft_twiddle,
              const float* fft_root, const float* chirp, const float* chirp_dft, const std::int32_t* go, int devices,
              int subcarriers, int symbols, int antennas, int coefficients, int merge, int slots, int batch,
              const unsigned char* quiet, float* z, float* energy, float* quiet_energy, void* stream);

// The same for more devices, K = K1 K2 with first = K1 (fft_split), no prime factor above 31: two launches a
// coefficient. twiddle [K, 2] as for the pilots, amplitude included; transform tables of K1 and K2; work [M, K, 2].
void spectral_large(const float* r, const std::int32_t* row_start, const std::int32_t* by_row, const float* twiddle,
                    const float* basis, const std::int32_t* slot, const float* s, int first, const float* first_twiddle,
                    const float* first_root, const float* second_twiddle, const float* second_root,
                    const std::int32_t* go, int devices, int subcarriers, int symbols, int antennas, int coefficients,
                    int merge, int slots, int batch, float* work, float* z, float* energy, void* stream);

// The same for any pilots, by products.
void direct(const float* r, const std::int32_t* rows, const float* twiddle, const float* array, const float* basis,
            const std::int32_t* slot, const float* s, const std::int32_t* go, int devices, int subcarriers, int symbols,
            int antennas, int coefficients, int merge, int slots, int batch, float* z, float* energy, void* stream);

// r = scale y - gram big - Q S, power[n, b] = sum over t of |r|^2; y or big may be null (zero), and scale, a word of
// the Control (one). y, big, r [T, N, M, 2], gram [N, T], S [capacity, P, M, 2] of devices `device` (-1: none), power
// [N, M].
void residual(const float* y, const float* scale, const float* gram, const float* big, const std::int32_t* rows,
              const float* twiddle, const float* array, const float* basis, const float* s, const std::int32_t* device,
              const std::int32_t* count, const std::int32_t* go, int capacity, int devices, int subcarriers,
              int symbols, int antennas, int coefficients, int batch, float* r, float* power, void* stream);

}  // namespace jadce::cuda

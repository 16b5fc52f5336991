// Module A on a GPU (docs/math.md, "the state in measurement space").
//
// All pointers are device pointers, complex numbers are interleaved, indices int32. Launchers run on `stream` (a
// cudaStream_t), do not wait, and throw std::runtime_error if a kernel cannot be launched. Where a `count` of devices
// is a pointer it is read on the GPU and at most `capacity`; null means `capacity`. Sums have a fixed order: the same
// bits on every run.
//
// Pilots are given as rows [N, T] and twiddle [K, 2] = amplitude exp(+2 pi i k / K), or, with rows null, as array
// [N, K, T, 2] rotated into the eigenvectors of Q_n Q_n^H.
#pragma once

#include <cstdint>

namespace jadce::cuda {

// Number of usable devices; 0 with the reason in `message` if there is none.
int device_count(const char** message);

// Statistics of some devices, the contract of KernelTable::gather:
//   z[a, p, b] = S[slot[k], p, b] + sum_n conj(basis[n, p]) sum_t conj(q[t, n, k]) r[t, n, b],  k = device[a].
// r [T, N, M, 2], basis [N, P, 2], device [capacity], z [capacity, P, M, 2] of which `count` are written. slot [K] is
// -1 for devices without a part S [slots, P, M, 2]; slot null means nobody has one. N at most 908.
void gather(const float* r, const std::int32_t* rows, const float* twiddle, const float* array, const float* basis,
            const std::int32_t* slot, const float* s, const std::int32_t* device, const std::int32_t* count,
            int capacity, int devices, int subcarriers, int symbols, int antennas, int coefficients, float* z,
            void* stream);

// The same of all devices by one K-point transform per coefficient and beam (partial-DFT pilots): z [K, P, M, 2] and
// energies |z|^2 summed over `merge` neighbouring coefficients, energy [groups, M, K]; either may be null.
// by_row: measurements t * N + n in the order of their DFT rows; row f has those from row_start[f] to row_start[f + 1].
// The transform's tables are FftPlan's. Its padded length is at most 14528 (29056 / 2), else std::runtime_error.
void spectral(const float* r, const std::int32_t* row_start, const std::int32_t* by_row, float amplitude,
              const float* basis, const std::int32_t* slot, const float* s, const float* fft_twiddle,
              const float* fft_root, const float* chirp, const float* chirp_dft, int devices, int subcarriers,
              int antennas, int coefficients, int merge, float* z, float* energy, void* stream);

// The same for more devices, K = K1 K2 with first = K1 (fft_split), no prime factor above 31: two launches a
// coefficient. twiddle [K, 2] as for the pilots, amplitude included; transform tables of K1 and K2; work [M, K, 2].
void spectral_large(const float* r, const std::int32_t* row_start, const std::int32_t* by_row, const float* twiddle,
                    const float* basis, const std::int32_t* slot, const float* s, int first, const float* first_twiddle,
                    const float* first_root, const float* second_twiddle, const float* second_root, int devices,
                    int subcarriers, int antennas, int coefficients, int merge, float* work, float* z, float* energy,
                    void* stream);

// r = y - gram big - Q S, power[n, b] = sum over t of |r|^2; y or big may be null (zero). y, big, r [T, N, M, 2],
// gram [N, T], S [capacity, P, M, 2] of devices `device` (-1: none), power [N, M].
void residual(const float* y, const float* gram, const float* big, const std::int32_t* rows, const float* twiddle,
              const float* array, const float* basis, const float* s, const std::int32_t* device,
              const std::int32_t* count, int capacity, int devices, int subcarriers, int symbols, int antennas,
              int coefficients, float* r, float* power, void* stream);

}  // namespace jadce::cuda

// Module A on a GPU. All pointers are device pointers; complex numbers are interleaved. Launchers run on `stream` (a
// cudaStream_t), do not wait, and throw std::runtime_error if a kernel cannot be launched.
#pragma once

#include <cstdint>

namespace jadce::cuda {

// Number of usable devices; 0 with the reason in `message` if there is none.
int device_count(const char** message);

// Statistics of some devices, the contract of KernelTable::gather for partial-DFT pilots:
//   z[a, p, b] = sum_n conj(basis[n, p]) sum_t twiddle[rows[n, t] * device[a] mod K] r[t, n, b].
// r [T, N, M, 2], rows [N, T], twiddle [K, 2] (amplitude * exp(+2 pi i k / K)), basis [N, P, 2], device [A], z [A, P,
// M, 2].
void gather(const float* r, const std::int32_t* rows, const float* twiddle, const float* basis,
            const std::int64_t* device, std::int64_t count, int devices, int subcarriers, int symbols, int antennas,
            int coefficients, float* z, void* stream);

}  // namespace jadce::cuda

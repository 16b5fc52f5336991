// Stockham passes of the transform of fft.hpp by one block, in its shared memory; several transforms interleaved.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "core/complex_cuda.hpp"
#include "core/launch.hpp"
#include "kernels/fft/butterfly.hpp"
#include "kernels/fft/fft.hpp"
#include "kernels/fft/fft_tables.hpp"

namespace jadce::cuda {

// FftView with the radices inside, to be passed to a kernel by value; the tables are device pointers.
struct BlockFft : FftTables {
  static constexpr int kMostPasses = 16;
  int length, padded, passes;
  int radix[kMostPasses];
  unsigned inverse[kMostPasses];  // 2^32 over the product of the radices before, rounded up; 0 where that is one
};

// The plan of one length from FftPlan's tables; throws std::runtime_error if it has too many passes.
inline BlockFft block_fft(int length, const FftTables& tables) {
  index_t padded = 0;
  const std::vector<int> radices = fft_radices(length, padded);
  if (radices.size() > BlockFft::kMostPasses) throw std::runtime_error("transform: too many passes");
  BlockFft plan{tables, length, static_cast<int>(padded), static_cast<int>(radices.size()), {}, {}};
  if (padded == length) plan.chirp = nullptr;
  std::uint64_t before = 1;
  for (std::size_t i = 0; i < radices.size(); ++i) {
    plan.radix[i] = radices[i];
    plan.inverse[i] = before == 1 ? 0 : static_cast<unsigned>((std::uint64_t{1} << 32) / before + 1);
    before *= static_cast<std::uint64_t>(radices[i]);
  }
  return plan;
}

// x viewed as [R, m, s] goes to y viewed as [m, R, s]; s is a multiple of 1 << shift, `inverse` that of the multiple.
template <int R>
__device__ void pass(const Complex* x, Complex* y, int m, int s, int shift, unsigned inverse,
                     const Complex* __restrict__ twiddle) {
  for (int i = static_cast<int>(threadIdx.x); i < m * s; i += static_cast<int>(blockDim.x)) {
    const auto row = static_cast<unsigned>(i >> shift);
    const auto p = static_cast<int>(inverse ? __umulhi(row, inverse) : row);  // i / s
    Complex a[R];
#pragma unroll
    for (int j = 0; j < R; ++j) a[j] = x[j * m * s + i];
    butterfly<R>(a);
    Complex* const out = y + p * (R - 1) * s + i;
    out[0] = a[0];
#pragma unroll
    for (int j = 1; j < R; ++j) out[j * s] = a[j] * twiddle[p * (R - 1) + j - 1];
  }
}

// The same for any radix, an output a thread.
inline __device__ void pass_any(int r, const Complex* x, Complex* y, int m, int s, const Complex* __restrict__ twiddle,
                                const Complex* __restrict__ root) {
  for (int i = static_cast<int>(threadIdx.x); i < r * m * s; i += static_cast<int>(blockDim.x)) {
    const int q = i % s, j = i / s % r, p = i / s / r;
    Complex total = x[p * s + q];
    for (int k = 1; k < r; ++k) total = total + x[(k * m + p) * s + q] * root[k * j % r];
    y[i] = j > 0 ? total * twiddle[p * (r - 1) + j - 1] : total;
  }
}

// All passes over [padded, 1 << shift]; the result is in the buffer that is returned, after a barrier. `twiddle` is the
// plan's or a copy, padded - 1 numbers.
inline __device__ Complex* passes(const BlockFft& plan, const Complex* twiddle, Complex* x, Complex* y, int shift) {
  const Complex* root = plan.root;
  int rest = plan.padded, s = 1 << shift;
  __syncthreads();
  for (int i = 0; i < plan.passes; ++i) {
    const int r = plan.radix[i], m = rest / r;
    switch (r) {
      case 2:
        pass<2>(x, y, m, s, shift, plan.inverse[i], twiddle);
        break;
      case 3:
        pass<3>(x, y, m, s, shift, plan.inverse[i], twiddle);
        break;
      case 4:
        pass<4>(x, y, m, s, shift, plan.inverse[i], twiddle);
        break;
      case 5:
        pass<5>(x, y, m, s, shift, plan.inverse[i], twiddle);
        break;
      default:
        pass_any(r, x, y, m, s, twiddle, root);
    }
    __syncthreads();
    twiddle += m * (r - 1);
    root += r;
    rest = m;
    s *= r;
    Complex* const other = x;
    x = y;
    y = other;
  }
  return x;
}

// Inverse DFT of x [length, 1 << shift]; x and y hold [padded, 1 << shift]. Returns the buffer with the result, after a
// barrier.
inline __device__ Complex* transform(const BlockFft& plan, const Complex* twiddle, Complex* x, Complex* y, int shift) {
  if (plan.chirp == nullptr) return passes(plan, twiddle, x, y, shift);
  const int start = static_cast<int>(threadIdx.x), step = static_cast<int>(blockDim.x);
  __syncthreads();
  for (int i = start; i < plan.padded << shift; i += step)
    x[i] = i < plan.length << shift ? x[i] * plan.chirp[i >> shift] : Complex{0.0f, 0.0f};
  Complex* const a = passes(plan, twiddle, x, y, shift);
  // The second transform is a forward one: real and imaginary parts change places before and after it.
  for (int i = start; i < plan.padded << shift; i += step) a[i] = exchange(a[i] * plan.chirp_dft[i >> shift]);
  Complex* const c = passes(plan, twiddle, a, a == x ? y : x, shift);
  for (int i = start; i < plan.length << shift; i += step) c[i] = exchange(c[i]) * plan.chirp[i >> shift];
  __syncthreads();
  return c;
}

}  // namespace jadce::cuda

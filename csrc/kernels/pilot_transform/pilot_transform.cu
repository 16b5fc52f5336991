#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "core/block_cuda.hpp"
#include "kernels/batch_cuda.hpp"
#include "kernels/fft/fft_cuda.hpp"
#include "kernels/pilot_transform/pilot_transform_cuda.hpp"
#include "kernels/pilot_transform/pilots_cuda.hpp"
#include "kernels/pilot_transform/spectral_cuda.hpp"

namespace jadce::cuda {

namespace {

constexpr int kThreads = 256;          // threads of a block of a transform
constexpr int kWarps = kThreads / 32;  // warps of a block of a transform
constexpr int kSide = 16;              // beams of a row of threads in residual
constexpr int kRows = 32;              // rows of threads in residual, which take a symbol each
constexpr int kTogether = 64;          // devices that residual projects together
// Bytes of shared memory for a transform of one beam; sums need the rest.
constexpr std::size_t kMostTransform = kMostShared - sizeof(float) * 4 * kWarps;
constexpr std::size_t kFewBytes = 48 * 1024;  // size of a table that is worth a copy in shared memory

// The spectrum of coefficient p, x [K, beams]. Measurements come to `stage` in the order of their rows, `room` at a
// time, so that no load waits for another.
__device__ void accumulate(const SpectralInput& input, const std::int32_t* row_start, int p, int first_beam, int shift,
                           float amplitude, int points, int room, Complex* x, Complex* stage) {
  const int start = static_cast<int>(threadIdx.x), mask = (1 << shift) - 1, beam = first_beam + (start & mask);
  for (int first = 0; first == 0 || first < input.measurements; first += room) {
    const int now = min(room, input.measurements - first);
    __syncthreads();
    for (int i = start; i < now << shift && beam < input.antennas; i += kInFlight * kThreads) {
      std::int32_t measurement[kInFlight];
      Complex value[kInFlight];
#pragma unroll
      for (int j = 0; j < kInFlight; ++j)
        measurement[j] = input.rows.measurements[first + min((i + j * kThreads) >> shift, now - 1)];
#pragma unroll
      for (int j = 0; j < kInFlight; ++j) value[j] = input.share(measurement[j], p, beam) * amplitude;
#pragma unroll
      for (int j = 0; j < kInFlight; ++j)
        if (i + j * kThreads < now << shift) stage[i + j * kThreads] = value[j];
    }
    __syncthreads();
    for (int i = start; i < points << shift; i += kThreads) {
      const int f = i >> shift, to = min(row_start[f + 1], first + now);
      Complex total = first == 0 ? Complex{0.0f, 0.0f} : x[i];
      if (beam < input.antennas)
        for (int j = max(row_start[f], first); j < to; ++j) total = total + stage[((j - first) << shift) + (i & mask)];
      x[i] = total;
    }
  }
}

// One block: one group of coefficients, 1 << shift beams, a thread always the same one. With `copied`, twiddles and
// starts of rows are held in shared memory.
__global__ void __launch_bounds__(kThreads, 3)
    spectral_kernel(const __grid_constant__ SpectralArgs args, const __grid_constant__ SpectralInput all,
                    const __grid_constant__ BlockFft plan, int shift, int copied) {
  const int start = static_cast<int>(threadIdx.x), points = plan.length, beams = 1 << shift;
  float* const part = dynamic_shared<float>();  // [kWarps, 4]
  Complex* const x = reinterpret_cast<Complex*>(part + 4 * kWarps);
  Complex* const y = x + (plan.padded << shift);
  Complex* const copy = y + (plan.padded << shift);
  std::int32_t* const row_copy = reinterpret_cast<std::int32_t*>(copy + plan.padded);
  const Complex* twiddle = plan.twiddle;
  const std::int32_t* row_start = args.rows.start;
  if (copied) {
    copy_together(twiddle, plan.padded - 1, copy);
    copy_together(row_start, points + 1, row_copy);
    twiddle = copy;
    row_start = row_copy;
  }
  after_previous();
  if (!has_work(args.enabled)) return;
  const SpectralInput input = all.of_batch();
  const SpectralOutput output = spectral_output(args).of_batch();
  const std::uint8_t* const idle = args.idle ? args.idle + batch() * points : nullptr;
  const int group = static_cast<int>(blockIdx.x), first_beam = static_cast<int>(blockIdx.y) << shift;
  const int antennas = output.antennas, merge = output.to.merge, last = min((group + 1) * merge, output.coefficients);
  const int beam = first_beam + (start & (beams - 1));
  for (int p = group * merge; p < last; ++p) {
    accumulate(input, row_start, p, first_beam, shift, args.amplitude, points, plan.padded, x, y);
    const Complex* const out = transform(plan, twiddle, x, y, shift);
    float sum = 0.0f;
    if (beam < antennas) {
      const SpectralOutput::Row row = output.row(p, beam);
      for (int i = start; i < points << shift; i += kInFlight * kThreads) {
        int slot[kInFlight];
        bool silent[kInFlight];
        Complex of_s[kInFlight];
#pragma unroll
        for (int j = 0; j < kInFlight; ++j) {
          const int k = min((i + j * kThreads) >> shift, points - 1);
          slot[j] = row.slot_of(k);
          silent[j] = idle && idle[k];
        }
#pragma unroll
        for (int j = 0; j < kInFlight; ++j) of_s[j] = row.part(slot[j]);
#pragma unroll
        for (int j = 0; j < kInFlight; ++j) {
          const int at = i + j * kThreads;
          if (at >= points << shift) continue;
          const Complex value = row.store(at >> shift, out[at] + of_s[j]);
          if (silent[j]) sum += norm(value);
        }
      }
    }
    if (idle) {
      for (int other = 16; other >= beams; other /= 2) sum += __shfl_xor_sync(~0u, sum, other);
      if (start % 32 < beams) part[start / 32 * 4 + start % 32] = sum;
    }
    __syncthreads();
    if (idle == nullptr || start >= beams || beam >= antennas) continue;
    for (int w = 1; w < kWarps; ++w) sum += part[w * 4 + start];
    args.idle_energy[(batch() * output.coefficients + p) * antennas + beam] = sum;
  }
}

// Pilots of two devices.
struct alignas(16) Two {
  Complex one, other;
};

// One block: one subcarrier, kSide beams; rows of threads, an even number, take devices, then symbols. However many
// rows there are, powers are summed in the same order.
template <int kMostRows>
__global__ void __launch_bounds__(kSide* kMostRows, 2 * kRows / kMostRows)
    residual_kernel(const __grid_constant__ ResidualArgs args, const float* __restrict__ gram,
                    const Complex* __restrict__ basis, Pilots q) {
  after_previous();
  if (!has_work(args.enabled)) return;
  const int subcarriers = args.sizes.subcarriers, antennas = args.sizes.antennas;
  const int coefficients = args.sizes.coefficients;
  Complex* __restrict__ r = args.r;
  const int lane = static_cast<int>(threadIdx.x), row = static_cast<int>(threadIdx.y);
  const int rows = static_cast<int>(blockDim.y), channel = coefficients * antennas;
  Complex* const x = dynamic_shared<Complex>();                     // [kTogether, kSide]
  Complex* const symbol = x + kTogether * kSide + row * kTogether;  // pilots of one symbol, a row's own
  float* const partial = reinterpret_cast<float*>(x + kTogether * (kSide + rows));
  const int n = static_cast<int>(blockIdx.x), beam = static_cast<int>(blockIdx.y) * kSide + lane;
  const bool inside = beam < antennas;
  const unsigned half = row % 2 ? 0xffff0000u : 0xffffu;  // lanes of this row; a warp has two rows
  const int total_count = limited(args.count, args.capacity);
  const float unit = args.scale ? args.scale[batch() * kControlWords] : 1.0f;
  const std::int64_t block = batch() * subcarriers * q.symbols * antennas;
  const Complex* const s = args.s + batch() * args.capacity * channel;
  const std::int32_t* const device = args.device + batch() * args.capacity;
  float mine = 0.0f;
  for (int first = 0; first == 0 || first < total_count; first += kTogether) {
    const int now = min(kTogether, total_count - first);
    __syncthreads();
    // Two devices of a row at a time, so that the loads of one do not wait for the other's.
    for (int a = row; a < now; a += 2 * rows) {
      const bool two = a + rows < now;
      const Complex* const c = s + static_cast<std::int64_t>(first + a) * channel + beam;
      const Complex* const d = two ? c + static_cast<std::int64_t>(rows) * channel : c;
      Complex one{0.0f, 0.0f}, other{0.0f, 0.0f};
      if (inside && basis == nullptr) {
        one = c[n * antennas];
        other = d[n * antennas];
      }
      if (inside && basis) {
#pragma unroll 4
        for (int p = 0; p < coefficients; ++p) {
          const Complex v = basis[n * coefficients + p];
          one = add_product(one, v, c[p * antennas]);
          other = add_product(other, v, d[p * antennas]);
        }
      }
      x[a * kSide + lane] = one;
      if (two) x[(a + rows) * kSide + lane] = other;
    }
    __syncthreads();
    for (int t = row; t < q.symbols; t += rows) {
      const std::int64_t at = block + (static_cast<std::int64_t>(t) * subcarriers + n) * antennas + beam;
      // Pilots of a device each come first, so that their loads do not wait for one another.
      const int measurement = n * q.symbols + t;
      const std::int32_t dft_row = q.row(measurement);
      int k[kTogether / kSide];
      Complex value[kTogether / kSide];
#pragma unroll
      for (int j = 0; j < kTogether / kSide; ++j) k[j] = lane + j * kSide < now ? device[first + lane + j * kSide] : -1;
      Complex total{0.0f, 0.0f};
      if (inside && first > 0) total = r[at];
      if (inside && first == 0 && args.y) total = args.y[at] * unit;
      if (inside && first == 0 && args.r_pri) total = total - args.r_pri[at] * gram[measurement];
#pragma unroll
      for (int j = 0; j < kTogether / kSide; ++j)
        value[j] = q.conjugate_at(dft_row, measurement, static_cast<unsigned>(max(k[j], 0)));
#pragma unroll
      for (int j = 0; j < kTogether / kSide; ++j)
        if (lane + j * kSide < now) symbol[lane + j * kSide] = k[j] < 0 ? Complex{0.0f, 0.0f} : conjugate(value[j]);
      __syncwarp(half);
      for (int a = 0; a + 1 < now; a += 2) {
        const auto [one, other] = *reinterpret_cast<const Two*>(symbol + a);
        total = subtract_product(total, one, x[a * kSide + lane]);
        total = subtract_product(total, other, x[(a + 1) * kSide + lane]);
      }
      if (now % 2) total = subtract_product(total, symbol[now - 1], x[(now - 1) * kSide + lane]);
      if (inside) r[at] = total;
      __syncwarp(half);
      if (first + kTogether >= total_count) mine += norm(total);
    }
  }
  partial[row * kSide + lane] = mine;
  __syncthreads();
  if (row > 0 || !inside) return;
  float total = 0.0f;
  for (int w = lane; w < min(rows, kRows) * kSide; w += kSide)
    total += w + kRows * kSide < rows * kSide ? partial[w] + partial[w + kRows * kSide] : partial[w];
  args.power[(batch() * subcarriers + n) * antennas + beam] = total;
}

}  // namespace

int device_count(const char** message) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  *message = error == cudaSuccess ? (count > 0 ? "" : "no CUDA device") : cudaGetErrorString(error);
  return error == cudaSuccess ? count : 0;
}

void spectral(const SpectralArgs& args, void* stream) {
  const Sizes& s = args.sizes;
  index_t padded = 0;
  fft_radices(s.devices, padded);
  const std::size_t each = 2 * sizeof(Complex) * static_cast<std::size_t>(padded);  // bytes of shared memory of a beam
  if (each > kMostTransform)
    throw std::runtime_error("spectral: expected a transform of at most " +
                             std::to_string(kMostTransform / (2 * sizeof(Complex))) +
                             " points in a block's shared memory, found " + std::to_string(padded) + " for " +
                             std::to_string(s.devices) + " devices");
  const BlockFft plan = block_fft(s.devices, args.fft);
  // Four beams share each 32-byte sector of r; fewer where that spreads the work more evenly over the multiprocessors,
  // or where two blocks would not fit one.
  const unsigned groups = blocks(s.coefficients, args.out.merge);
  const auto most = [&](int log2) {  // beams of the busiest multiprocessor
    const unsigned all = groups * blocks(s.antennas, 1 << log2) * static_cast<unsigned>(s.batch);
    return blocks(all, kProcessors) << log2;
  };
  int shift = 2;
  while (shift > 0 && 2 * (each << shift) > kMostShared) --shift;
  for (int less = shift - 1; less >= 0; --less)
    if (most(less) < most(shift)) shift = less;
  const std::size_t tables = sizeof(Complex) * static_cast<std::size_t>(padded) +
                             sizeof(std::int32_t) * (static_cast<std::size_t>(s.devices) + 1);
  const bool copied = tables <= kFewBytes;
  launch("spectral", spectral_kernel, dim3(groups, blocks(s.antennas, 1 << shift), static_cast<unsigned>(s.batch)),
         kThreads, sizeof(float) * 4 * kWarps + (each << shift) + (copied ? tables : 0), stream, args,
         spectral_input(args, args.rows), plan, shift, copied);
}

void residual(const ResidualArgs& args, void* stream) {
  const Sizes& s = args.sizes;
  // One block is done sooner with all symbols at a time; of many, no rows may be without a symbol.
  const int fit = (s.symbols + 1) / 2 * 2,
            rows = s.batch > 1 || fit > 2 * kRows ? std::min(kRows, fit) : std::max(kRows, fit);
  launch("residual", rows > kRows ? residual_kernel<2 * kRows> : residual_kernel<kRows>,
         dim3(static_cast<unsigned>(s.subcarriers), blocks(s.antennas, kSide), static_cast<unsigned>(s.batch)),
         dim3(kSide, static_cast<unsigned>(rows)),
         sizeof(Complex) * static_cast<std::size_t>(kTogether * (kSide + rows)) +
             sizeof(float) * static_cast<std::size_t>(kSide * rows),
         stream, args, args.gram, args.basis, pilots(args.pilots, s));
}

}  // namespace jadce::cuda

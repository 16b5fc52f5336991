#include <cstddef>
#include <cstdint>

#include "core/block_cuda.hpp"
#include "core/clock_cuda.hpp"
#include "core/complex_cuda.hpp"
#include "kernels/batch_cuda.hpp"
#include "kernels/colored_noise/colored_noise_cuda.hpp"
#include "loop/loop.hpp"

namespace jadce::cuda {

namespace {

constexpr int kBeams = 32;  // worked on together, one a lane
constexpr int kWarps = kBeamWarps;
constexpr int kThreads = kWarps * kBeams;

__device__ int thread() { return static_cast<int>(threadIdx.x); }
__device__ int block() { return static_cast<int>(blockIdx.x); }
__device__ int lane() { return thread() % kBeams; }
__device__ int warp() { return thread() / kBeams; }

// (H x)[b] for a Hermitian matrix H [m, m], which is read along rows.
__device__ Complex product(const Complex* h, const Complex* x, int m, int b) {
  Complex total{0.0f, 0.0f};
#pragma unroll 8
  for (int c = 0; c < m; ++c) total = add_product(total, conjugate(h[c * m + b]), x[c]);
  return total;
}

// Sum of the warps' parts for the beam of this lane, in order. `part` holds [kWarps, 32].
__device__ double over_warps(double value, double* part) {
  __syncthreads();
  part[thread()] = value;
  __syncthreads();
  double total = 0;
  for (int w = 0; w < kWarps; ++w) total += part[w * kBeams + lane()];
  return total;
}

// LMMSE's gain of a beam of measurements with this eigenvalue, before it is divided by its mean.
__device__ double gain_of(float v, float gram, float noise, const Complex& own) {
  return static_cast<double>(v) / (static_cast<double>(v) * static_cast<double>(gram) +
                                   static_cast<double>(noise) * static_cast<double>(own.re));
}

// One block: one subcarrier.
__global__ void __launch_bounds__(kThreads) whiten_kernel(const __grid_constant__ WhitenArgs args) {
  after_previous();
  if (!has_work(args.enabled)) return;
  double* const part = dynamic_shared<double>();  // [kThreads]
  const int m = args.sizes.antennas, n = block(), subcarriers = args.sizes.subcarriers;
  const Complex* const inverse = args.inverse + std::int64_t{1} * n * m * m;
  const std::int64_t row = std::int64_t{1} * subcarriers * m;
  const Complex* const r = args.r + batch() * args.sizes.symbols * row + std::int64_t{1} * n * m;
  const std::int64_t out = (batch() * subcarriers + n) * m;
  double all = 0;
  for (int first = 0; first < m; first += kBeams) {
    const int b = first + lane();
    double squares = 0, product_sum = 0;
    for (int t = warp(); t < args.sizes.symbols && b < m; t += kWarps) {
      const Complex* const x = r + t * row;
      const Complex u = product(inverse, x, m, b);
      squares += static_cast<double>(norm(u));
      product_sum += static_cast<double>(x[b].re * u.re + x[b].im * u.im);
    }
    squares = over_warps(squares, part);
    product_sum = over_warps(product_sum, part);
    if (warp() > 0 || b >= m) continue;
    args.filtered[out + b] = static_cast<float>(squares);
    args.whitened[out + b] = static_cast<float>(product_sum);
    all += product_sum;
  }
  if (args.power == nullptr) return;
  all = block_sum(all, part);
  if (thread() == 0) args.power[batch() * subcarriers + n] = all;
}

// One block: one row of the matrix. Every block works out the variances of all beams, and writes its own beam's.
__global__ void __launch_bounds__(kThreads)
    mixing_kernel(const __grid_constant__ NoiseMixingArgs args, const float* __restrict__ gram) {
  after_previous();
  const Control& c = args.control[batch()];
  if (!c.going) return;
  double* const part = dynamic_shared<double>();  // [kThreads]
  const int m = args.sizes.antennas, subcarriers = args.sizes.subcarriers, symbols = args.sizes.symbols, own = block();
  double* const excess = part + kThreads;  // [M]
  float* const variance = reinterpret_cast<float*>(excess + m);
  const float noise = c.noise;
  if (c.iteration == 0 || !args.rules.predicted) {
    const float* const filtered = args.filtered + batch() * subcarriers * m;
    for (int first = 0; first < m; first += kBeams) {
      const int b = first + lane();
      const double total = beam_sum(subcarriers, part, [&](int n) { return b < m ? filtered[n * m + b] : 0.0f; });
      if (warp() == 0 && b < m)
        excess[b] = total / (static_cast<double>(subcarriers) * symbols) - static_cast<double>(noise * args.level[b]);
    }
    __syncthreads();
    const float floor = variance_floor(args.rules, noise, c.received, args.mean_gram);
    for (int b = thread(); b < m; b += kThreads) {
      double total = 0;
#pragma unroll 8
      for (int d = 0; d < m; ++d) total += static_cast<double>(args.unmix[d * m + b]) * excess[d];
      variance[b] = at_least(static_cast<float>(total) / args.mean_gram, floor);
    }
  } else {
    for (int b = thread(); b < m; b += kThreads) variance[b] = args.v_a[batch() * m + b];
  }
  __syncthreads();
  const int rounds = args.uniform ? 1 : symbols;
  const double times = args.uniform ? static_cast<double>(symbols) : 1.0;
  for (int first = 0; first < m; first += kBeams) {
    const int d = first + lane();
    double re = 0, im = 0, self = 0, gain = 0;
    for (int n = warp(); n < subcarriers && d < m; n += kWarps) {
      const Complex* const covariance = args.covariance + std::int64_t{1} * n * m * m;
      const Complex here = covariance[own * m + d], of_own = covariance[own * m + own], of_d = covariance[d * m + d];
      double share = 0;
      for (int t = 0; t < rounds; ++t) {
        const float g = gram[n * symbols + t];
        const double w = gain_of(variance[d], g, noise, of_d) * static_cast<double>(g) * times;
        gain += w;
        share += w * gain_of(variance[own], g, noise, of_own);
        if (d == own) self += w * w / times;
      }
      re += share * static_cast<double>(noise) * static_cast<double>(here.re);
      im += share * static_cast<double>(noise) * static_cast<double>(here.im);
    }
    re = over_warps(re + self * static_cast<double>(d == own ? variance[own] : 0.0f), part);
    im = over_warps(im, part);
    gain = over_warps(gain, part);
    if (warp() > 0 || d >= m) continue;
    args.mixing[(batch() * m + own) * m + d] = {re, im};
    if (d == own) args.gain[batch() * m + own] = gain;
    if (d == own) args.v_a[batch() * m + own] = variance[own];
  }
}

// f(row, column, place) for all entries of a matrix [m, m], by all threads of the block.
template <class F>
__device__ void for_each(int m, F f) {
  for (int y = warp(); y < m; y += kWarps)
    for (int x = lane(); x < m; x += kBeams) f(y, x, y * m + x);
}

// Inverts a Hermitian positive definite matrix [m, m] in place, by Gauss-Jordan steps. `row` and `column` hold [m].
__device__ void invert(ComplexDouble* a, int m, ComplexDouble* row, ComplexDouble* column) {
  for (int k = 0; k < m; ++k) {
    __syncthreads();
    const double pivot = 1.0 / a[k * m + k].re;
    for (int j = thread(); j < m; j += kThreads) {
      const ComplexDouble value = a[k * m + j];
      row[j] = j == k ? ComplexDouble{pivot, 0.0} : ComplexDouble{value.re * pivot, value.im * pivot};
      column[j] = a[j * m + k];
    }
    __syncthreads();
    for_each(m, [=](int y, int x, int i) {
      const ComplexDouble f = column[y], p = row[x], old = x == k ? ComplexDouble{0.0, 0.0} : a[i];
      a[i] = y == k ? p : ComplexDouble{old.re - f.re * p.re + f.im * p.im, old.im - f.re * p.im - f.im * p.re};
    });
  }
  __syncthreads();
}

// One block: one received block. The matrix is in shared memory if there is room.
__global__ void __launch_bounds__(kThreads, 1)
    invert_kernel(const __grid_constant__ NoiseInvertArgs args, bool copied) {
  after_previous();
  Control& c = args.control[batch()];
  if (!c.going) {
    if (thread() == 0) c.run = c.test = 0;  // also for the kernels that follow
    return;
  }
  double* const part = dynamic_shared<double>();  // [kThreads]
  const int m = args.sizes.antennas;
  const double all = static_cast<double>(args.sizes.subcarriers) * args.sizes.devices;
  ComplexDouble* const row = reinterpret_cast<ComplexDouble*>(part + kThreads);
  ComplexDouble* const column = row + m;
  ComplexDouble* const kept = args.mixing + batch() * m * m;
  ComplexDouble* const a = copied ? column + m : kept;
  double* const gain = args.gain + batch() * m;
  float* const unknown = args.unknown + batch() * m;
  const float* const v_a = args.v_a + batch() * m;
  const bool started = c.iteration > 0;
  const std::int64_t first_candidate = batch() * args.capacity;
  const float* const posterior = args.candidates.posterior + first_candidate;
  const float* const power = args.candidates.power + first_candidate;
  const float* const var = args.candidates.var + first_candidate * m;
  const int count = started ? c.candidates : 0;
  double expected = 0;
  for (int i = thread(); i < count; i += kThreads) expected += static_cast<double>(posterior[i]);
  expected = block_sum(expected, part);
  for (int first = 0; first < m; first += kBeams) {
    const int b = first + lane();
    const double total = beam_sum(count, part, [&](int i) {
      return b < m ? posterior[i] * power[i] * var[static_cast<std::int64_t>(i) * m + b] : 0.0f;
    });
    if (warp() > 0 || b >= m) continue;
    if (!started) unknown[b] = 1.0f;
    if (expected > 0) unknown[b] = unknown_channel(total, expected, m);
    gain[b] = all / gain[b];
  }
  __syncthreads();
  for_each(m, [=](int b, int d, int i) {
    const double scale = gain[b] * gain[d] / all;
    a[i] = {kept[i].re * scale, kept[i].im * scale};
    if (b == d) a[i].re += static_cast<double>(unknown[b] - v_a[b]);
  });
  invert(a, m, row, column);
  const bool measured = c.iteration == 0 || !args.rules.predicted;
  const float noise_floor = variance_floor(args.rules, c.noise, c.received, args.mean_gram);
  const float floor = measured ? noise_floor : args.rules.smallest_alpha * noise_floor;
  double error = 0;
  for (int b = thread(); b < m; b += kThreads) {
    const float v = at_least(static_cast<float>(1.0 / a[b * m + b].re - static_cast<double>(unknown[b])), floor);
    args.v_b[batch() * m + b] = v;
    error += static_cast<double>(v);
  }
  Complex* const mix = args.mix + batch() * m * m;
  for_each(m, [=](int, int b, int i) {
    const double alone = 1.0 / a[b * m + b].re;
    mix[i] = {static_cast<float>(a[i].re * alone), static_cast<float>(-a[i].im * alone)};
  });
  error = block_sum(error, part);
  if (thread() > 0) return;
  c.colored = 1;
  plan(c, args.rules, static_cast<float>(error / m), 1e-3f * static_cast<float>(nanoseconds() - c.began));
  args.history[(batch() * args.rules.max_iterations + c.iteration) * 2] = c.error;
}

// One block: one subcarrier. A warp has weighted all beams of a symbol before it combines them.
__global__ void __launch_bounds__(kThreads)
    message_kernel(const __grid_constant__ NoiseMessageArgs args, const float* __restrict__ gram) {
  after_previous();
  const Control& c = args.control[batch()];
  if (!c.run) return;
  const int m = args.sizes.antennas, n = block(), symbols = args.sizes.symbols;
  const Complex* const covariance = args.covariance + std::int64_t{1} * n * m * m;
  const Complex* const mix = args.mix + batch() * m * m;
  const float* const v = args.v_a + batch() * m;
  const double* const gain = args.gain + batch() * m;
  const std::int64_t row = std::int64_t{1} * args.sizes.subcarriers * m;
  for (int t = warp(); t < symbols; t += kWarps) {
    const std::int64_t at = (batch() * symbols + t) * row + std::int64_t{1} * n * m;
    Complex* const x = args.r + at;
    const float g = gram[n * symbols + t];
    for (int b = lane(); b < m; b += kBeams)
      x[b] = x[b] * static_cast<float>(gain_of(v[b], g, c.noise, covariance[b * m + b]) * gain[b]);
    __syncwarp();
    for (int b = lane(); b < m; b += kBeams) {
      Complex total{0.0f, 0.0f};
#pragma unroll 8
      for (int d = 0; d < m; ++d) total = add_product(total, mix[d * m + b], x[d]);
      args.r_b[at + b] = args.r_pri[at + b] + total;
    }
  }
}

dim3 grid(int count, const Sizes& sizes) {
  return {static_cast<unsigned>(count), 1, static_cast<unsigned>(sizes.batch)};
}

}  // namespace

void whiten(const WhitenArgs& args, void* stream) {
  launch("whiten", whiten_kernel, grid(args.sizes.subcarriers, args.sizes), kThreads, sizeof(double) * kThreads, stream,
         args);
}

void noise_mixing(const NoiseMixingArgs& args, void* stream) {
  launch("noise_mixing", mixing_kernel, grid(args.sizes.antennas, args.sizes), kThreads,
         sizeof(double) * kThreads + (sizeof(double) + sizeof(float)) * static_cast<std::size_t>(args.sizes.antennas),
         stream, args, args.gram);
}

void noise_invert(const NoiseInvertArgs& args, void* stream) {
  const auto m = static_cast<std::size_t>(args.sizes.antennas);
  const std::size_t least = sizeof(double) * kThreads + 2 * m * sizeof(ComplexDouble);
  const std::size_t all = least + m * m * sizeof(ComplexDouble);
  const bool copied = all <= kSharedAnywhere;
  launch("noise_invert", invert_kernel, grid(1, args.sizes), kThreads, copied ? all : least, stream, args, copied);
}

void noise_message(const NoiseMessageArgs& args, void* stream) {
  launch("noise_message", message_kernel, grid(args.sizes.subcarriers, args.sizes), kThreads, 0, stream, args,
         args.gram);
}

}  // namespace jadce::cuda

// The statistics of more devices than one block's shared memory holds: K = K1 K2 points in two passes. With
// f = K2 f1 + f2 and k = k1 + K1 k2,
//   X[k] = sum_f2 exp(2 pi i f2 k2 / K2) exp(2 pi i f2 k1 / K) sum_f1 exp(2 pi i f1 k1 / K1) x[f].
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "kernels/fft/fft_cuda.hpp"
#include "kernels/pilot_transform/pilot_transform_cuda.hpp"
#include "kernels/pilot_transform/spectral_cuda.hpp"

namespace jadce::cuda {

namespace {

constexpr int kThreads = 256;

// One block: one beam, 1 << shift values of f2. -> work [M, K1, K2].
__global__ void __launch_bounds__(kThreads)
    first_kernel(const std::int32_t* enabled, const __grid_constant__ SpectralInput all,
                 const Complex* __restrict__ twiddle, const __grid_constant__ BlockFft plan, int shift, int second,
                 int p, Complex* __restrict__ work) {
  after_previous();
  if (!has_work(enabled)) return;
  Complex* const x = dynamic_shared<Complex>();
  const SpectralInput input = all.of_batch();
  const int start = static_cast<int>(threadIdx.x), beam = static_cast<int>(blockIdx.y);
  const int from = static_cast<int>(blockIdx.x) << shift, size = plan.length << shift;
  for (int i = start; i < size; i += kThreads) {
    const int f1 = i >> shift, f2 = from + i - (f1 << shift);
    x[i] = f2 < second ? input.at(second * f1 + f2, p, beam) : Complex{0.0f, 0.0f};
  }
  const Complex* const out = transform(plan, plan.twiddle, x, x + size, shift);
  work += (batch() * input.antennas + beam) * plan.length * second;
  for (int i = start; i < size; i += kThreads) {
    const int k1 = i >> shift, f2 = from + i - (k1 << shift);
    if (f2 < second) work[static_cast<std::int64_t>(k1) * second + f2] = out[i] * twiddle[f2 * k1];
  }
}

// One block: one beam, 1 << shift values of k1.
__global__ void __launch_bounds__(kThreads)
    second_kernel(const std::int32_t* enabled, const Complex* work, const __grid_constant__ BlockFft plan, int shift,
                  int first, int p, const __grid_constant__ SpectralOutput all) {
  after_previous();
  if (!has_work(enabled)) return;
  Complex* const x = dynamic_shared<Complex>();
  const SpectralOutput output = all.of_batch();
  const int start = static_cast<int>(threadIdx.x), beam = static_cast<int>(blockIdx.y), points = plan.length;
  const int from = static_cast<int>(blockIdx.x) << shift, size = points << shift;
  work += (batch() * output.antennas + beam) * first * points;
  for (int i = start; i < size; i += kThreads) {
    const int c = i / points, f2 = i - c * points;
    x[(f2 << shift) + c] =
        from + c < first ? work[static_cast<std::int64_t>(from + c) * points + f2] : Complex{0.0f, 0.0f};
  }
  const Complex* const out = transform(plan, plan.twiddle, x, x + size, shift);
  const SpectralOutput::Row row = output.row(p, beam);
  for (int i = start; i < size; i += kThreads) {
    const int k2 = i >> shift, k1 = from + i - (k2 << shift);
    if (k1 < first) row.put(k1 + first * k2, out[i]);
  }
}

// Logarithm of the number of columns that a block takes: they fill 64 bytes, or what shared memory holds.
int shift_of(int length) {
  const std::size_t each = 2 * sizeof(Complex) * static_cast<std::size_t>(length);
  if (each > kMostShared)
    throw std::runtime_error("spectral_large: expected factors of K of at most " +
                             std::to_string(kMostShared / (2 * sizeof(Complex))) + ", found " + std::to_string(length));
  int shift = 3;
  while (each << shift > kMostShared) --shift;
  return shift;
}

}  // namespace

void spectral_large(const SpectralLargeArgs& args, void* stream) {
  const Sizes& s = args.sizes;
  const int first = args.first;
  if (first < 1 || s.devices % first != 0)
    throw std::runtime_error("spectral_large: expected a divisor of " + std::to_string(s.devices) + ", found " +
                             std::to_string(first));
  const int second = s.devices / first, wide = shift_of(first), high = shift_of(second);
  const BlockFft one = block_fft(first, args.first_fft), two = block_fft(second, args.second_fft);
  if (one.padded != first || two.padded != second)
    throw std::runtime_error("spectral_large: expected devices without prime factors above " +
                             std::to_string(kLargestRadix) + ", found " + std::to_string(s.devices));
  const auto bytes = [](int length, int shift) {
    return 2 * sizeof(Complex) * static_cast<std::size_t>(length) << shift;
  };
  const auto grid = [&](unsigned x) {
    return dim3(x, static_cast<unsigned>(s.antennas), static_cast<unsigned>(s.batch));
  };
  for (int p = 0; p < s.coefficients; ++p) {
    launch("spectral_large", first_kernel, grid(blocks(second, 1 << wide)), kThreads, bytes(first, wide), stream,
           args.enabled, spectral_input(args, args.rows), args.twiddle, one, wide, second, p, args.work);
    launch("spectral_large", second_kernel, grid(blocks(first, 1 << high)), kThreads, bytes(second, high), stream,
           args.enabled, args.work, two, high, first, p, spectral_output(args));
  }
}

}  // namespace jadce::cuda

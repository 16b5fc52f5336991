#include "core/launch.hpp"
#include "kernels/complex_cuda.hpp"
#include "kernels/pilot_transform_cuda.hpp"
#include "kernels/spectral_cuda.hpp"

namespace jadce::cuda {

namespace {

constexpr int kBeams = 32;        // beams of a block, one a lane
constexpr int kWarps = 8;         // warps of a block
constexpr int kTogether = 64;     // devices projected together
constexpr int kThreads = 256;     // of a transform
constexpr int kProcessors = 132;  // multiprocessors of the GPU that launches are sized for

struct Pilots {
  const std::int32_t* rows;
  const Complex* twiddle;
  const Complex* array;
  std::uint64_t inverse;  // 2^64 / K, rounded down
  unsigned devices;
  int symbols;

  // conj(q[t, n, k])
  __device__ Complex conjugate_of(int n, int t, unsigned k) const {
    if (rows) {
      const std::uint64_t product = static_cast<std::uint64_t>(rows[n * symbols + t]) * k;
      auto rest = static_cast<unsigned>(product - __umul64hi(product, inverse) * devices);  // product % K, or K more
      if (rest >= devices) rest -= devices;
      return twiddle[rest];
    }
    return conjugate(array[(static_cast<std::int64_t>(n) * devices + k) * symbols + t]);
  }
};

Pilots pilots(const std::int32_t* rows, const float* twiddle, const float* array, int devices, int symbols) {
  const auto k = static_cast<unsigned>(devices);
  return {rows, complex(twiddle), complex(array), ~std::uint64_t{0} / k, k, symbols};
}

__device__ int limited(const std::int32_t* count, int capacity) {
  return count == nullptr || *count > capacity ? capacity : *count;
}

// One block: one device, kBeams beams. Correlations over symbols go to shared memory [N, kBeams], then the KLT.
__global__ void __launch_bounds__(kBeams* kWarps)
    gather_kernel(const Complex* __restrict__ r, Pilots q, const Complex* __restrict__ basis,
                  const std::int32_t* __restrict__ slot, const Complex* __restrict__ s,
                  const std::int32_t* __restrict__ device, const std::int32_t* __restrict__ count, int capacity,
                  int subcarriers, int antennas, int coefficients, Complex* __restrict__ z) {
  const int a = static_cast<int>(blockIdx.x);
  if (a >= limited(count, capacity)) return;
  Complex* const correlation = dynamic_shared<Complex>();
  const int k = device[a], lane = static_cast<int>(threadIdx.x);
  const int beam = static_cast<int>(blockIdx.y) * kBeams + lane;
  const bool inside = beam < antennas;
  for (int n = static_cast<int>(threadIdx.y); n < subcarriers; n += kWarps) {
    Complex total{0.0f, 0.0f};
    for (int t = 0; t < q.symbols; ++t) {
      const Complex w = q.conjugate_of(n, t, static_cast<unsigned>(k));
      if (inside) total = total + w * r[(static_cast<std::int64_t>(t) * subcarriers + n) * antennas + beam];
    }
    correlation[n * kBeams + lane] = total;
  }
  __syncthreads();
  if (!inside) return;
  const int at = slot ? slot[k] : -1;
  for (int p = static_cast<int>(threadIdx.y); p < coefficients; p += kWarps) {
    Complex total{0.0f, 0.0f};
    for (int n = 0; n < subcarriers; ++n)
      total = total + conjugate(basis[n * coefficients + p]) * correlation[n * kBeams + lane];
    if (at >= 0) total = total + s[(static_cast<std::int64_t>(at) * coefficients + p) * antennas + beam];
    z[(static_cast<std::int64_t>(a) * coefficients + p) * antennas + beam] = total;
  }
}

// One block: one group of coefficients, `beams` beams. The spectrum [K, beams] is filled row by row, so that no two
// threads add to one place.
__global__ void __launch_bounds__(kThreads)
    spectral_kernel(const __grid_constant__ SpectralInput input, float amplitude, const __grid_constant__ BlockFft plan,
                    int beams, const __grid_constant__ SpectralOutput output) {
  Complex* const x = dynamic_shared<Complex>();
  const int start = static_cast<int>(threadIdx.x), step = static_cast<int>(blockDim.x), k_all = plan.length;
  const int group = static_cast<int>(blockIdx.x), first_beam = static_cast<int>(blockIdx.y) * beams;
  const int antennas = output.antennas, merge = output.merge, last = min((group + 1) * merge, output.coefficients);
  for (int p = group * merge; p < last; ++p) {
    for (int i = start; i < k_all * beams; i += step) {
      const int f = i / beams, beam = first_beam + i - f * beams;
      x[i] = beam < antennas ? input.at(f, p, beam) * amplitude : Complex{0.0f, 0.0f};
    }
    const Complex* const out = transform(plan, x, x + plan.padded * beams, beams);
    for (int i = start; i < k_all * beams; i += step) {
      const int b = i / k_all, k = i - b * k_all, beam = first_beam + b;
      if (beam >= antennas) break;
      output.put(k, p, beam, out[k * beams + b]);
    }
    __syncthreads();
  }
}

// One block: one subcarrier, kBeams beams; warps take symbols.
__global__ void __launch_bounds__(kBeams* kWarps, 4)
    residual_kernel(const Complex* __restrict__ y, const float* __restrict__ gram, const Complex* __restrict__ big,
                    Pilots q, const Complex* __restrict__ basis, const Complex* __restrict__ s,
                    const std::int32_t* __restrict__ device, const std::int32_t* __restrict__ count, int capacity,
                    int subcarriers, int antennas, int coefficients, Complex* __restrict__ r,
                    float* __restrict__ power) {
  const int lane = static_cast<int>(threadIdx.x), warp = static_cast<int>(threadIdx.y);
  Complex* const x = dynamic_shared<Complex>();                       // [kTogether, kBeams]
  Complex* const symbol = x + kTogether * kBeams + warp * kTogether;  // pilots of one symbol, a warp's own
  float* const partial = reinterpret_cast<float*>(x + kTogether * (kBeams + kWarps));
  const int n = static_cast<int>(blockIdx.x), beam = static_cast<int>(blockIdx.y) * kBeams + lane;
  const bool inside = beam < antennas;
  const int total_count = limited(count, capacity);
  float mine = 0.0f;
  for (int first = 0; first == 0 || first < total_count; first += kTogether) {
    const int now = min(kTogether, total_count - first);
    __syncthreads();
    for (int a = warp; a < now; a += kWarps) {
      Complex total{0.0f, 0.0f};
      const Complex* const c = s + static_cast<std::int64_t>(first + a) * coefficients * antennas + beam;
      if (inside)
        for (int p = 0; p < coefficients; ++p) total = total + basis[n * coefficients + p] * c[p * antennas];
      x[a * kBeams + lane] = total;
    }
    __syncthreads();
    for (int t = warp; t < q.symbols; t += kWarps) {
      for (int a = lane; a < now; a += kBeams) {
        const int k = device[first + a];
        symbol[a] = k < 0 ? Complex{0.0f, 0.0f} : conjugate(q.conjugate_of(n, t, static_cast<unsigned>(k)));
      }
      __syncwarp();
      const std::int64_t at = (static_cast<std::int64_t>(t) * subcarriers + n) * antennas + beam;
      Complex total{0.0f, 0.0f};
      if (inside && first > 0) total = r[at];
      if (inside && first == 0 && y) total = y[at];
      if (inside && first == 0 && big) total = total - big[at] * gram[n * q.symbols + t];
      for (int a = 0; a < now; ++a) total = total - symbol[a] * x[a * kBeams + lane];
      if (inside) r[at] = total;
      __syncwarp();
      if (first + kTogether >= total_count) mine += norm(total);
    }
  }
  partial[warp * kBeams + lane] = mine;
  __syncthreads();
  if (warp > 0 || !inside) return;
  for (int w = 1; w < kWarps; ++w) mine += partial[w * kBeams + lane];
  power[n * antennas + beam] = mine;
}

}  // namespace

int device_count(const char** message) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  *message = error == cudaSuccess ? (count > 0 ? "" : "no CUDA device") : cudaGetErrorString(error);
  return error == cudaSuccess ? count : 0;
}

void gather(const float* r, const std::int32_t* rows, const float* twiddle, const float* array, const float* basis,
            const std::int32_t* slot, const float* s, const std::int32_t* device, const std::int32_t* count,
            int capacity, int devices, int subcarriers, int symbols, int antennas, int coefficients, float* z,
            void* stream) {
  if (capacity == 0) return;
  launch("gather", gather_kernel, dim3(static_cast<unsigned>(capacity), blocks(antennas, kBeams)), dim3(kBeams, kWarps),
         sizeof(Complex) * static_cast<std::size_t>(subcarriers) * kBeams, stream, complex(r),
         pilots(rows, twiddle, array, devices, symbols), complex(basis), slot, complex(s), device, count, capacity,
         subcarriers, antennas, coefficients, complex(z));
}

void spectral(const float* r, const std::int32_t* row_start, const std::int32_t* by_row, float amplitude,
              const float* basis, const std::int32_t* slot, const float* s, const float* fft_twiddle,
              const float* fft_root, const float* chirp, const float* chirp_dft, int devices, int subcarriers,
              int antennas, int coefficients, int merge, float* z, float* energy, void* stream) {
  index_t padded = 0;
  fft_radices(devices, padded);
  const std::size_t each = 2 * sizeof(Complex) * static_cast<std::size_t>(padded);  // bytes of shared memory of a beam
  if (each > kMostShared)
    throw std::runtime_error("spectral: expected a transform of at most " +
                             std::to_string(kMostShared / (2 * sizeof(Complex))) +
                             " points in a block's shared memory, found " + std::to_string(padded) + " for " +
                             std::to_string(devices) + " devices");
  const BlockFft plan = block_fft(devices, fft_twiddle, fft_root, chirp, chirp_dft);
  // Four beams share each 32-byte sector of r; fewer where the grid would leave multiprocessors idle, or two blocks
  // would not fit one.
  const unsigned groups = blocks(coefficients, merge);
  int beams = 4;
  while (beams > 1 &&
         (groups * blocks(antennas, beams) < kProcessors || 2 * each * static_cast<std::size_t>(beams) > kMostShared))
    beams /= 2;
  launch("spectral", spectral_kernel, dim3(groups, blocks(antennas, beams)), kThreads,
         each * static_cast<std::size_t>(beams), stream,
         SpectralInput{complex(r), row_start, by_row, complex(basis), subcarriers, antennas, coefficients}, amplitude,
         plan, beams, SpectralOutput{slot, complex(s), complex(z), energy, devices, antennas, coefficients, merge});
}

void residual(const float* y, const float* gram, const float* big, const std::int32_t* rows, const float* twiddle,
              const float* array, const float* basis, const float* s, const std::int32_t* device,
              const std::int32_t* count, int capacity, int devices, int subcarriers, int symbols, int antennas,
              int coefficients, float* r, float* power, void* stream) {
  launch("residual", residual_kernel, dim3(static_cast<unsigned>(subcarriers), blocks(antennas, kBeams)),
         dim3(kBeams, kWarps), sizeof(Complex) * kTogether * (kBeams + kWarps) + sizeof(float) * kWarps * kBeams,
         stream, complex(y), gram, complex(big), pilots(rows, twiddle, array, devices, symbols), complex(basis),
         complex(s), device, count, capacity, subcarriers, antennas, coefficients, complex(r), power);
}

}  // namespace jadce::cuda

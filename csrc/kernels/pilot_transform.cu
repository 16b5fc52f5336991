#include "core/block_cuda.hpp"
#include "kernels/batch_cuda.hpp"
#include "kernels/pilot_transform_cuda.hpp"
#include "kernels/pilots_cuda.hpp"
#include "kernels/spectral_cuda.hpp"
#include "receiver/rules.hpp"

namespace jadce::cuda {

namespace {

constexpr int kBeams = 32;        // beams of a block, one a lane
constexpr int kWarps = 8;         // warps of a block
constexpr int kTogether = 64;     // devices projected together
constexpr int kThreads = 256;     // of a transform
constexpr int kProcessors = 132;  // multiprocessors of the GPU that launches are sized for

// One block: one device. Correlations over symbols go to shared memory [N, kBeams], then the KLT, kBeams beams at a
// time; with v_b the device's power is measured and taken out.
__global__ void __launch_bounds__(kThreads, 4)
    gather_kernel(const std::int32_t* go, const Complex* __restrict__ r, Pilots q, const Complex* __restrict__ basis,
                  const std::int32_t* __restrict__ slot, const Complex* __restrict__ s,
                  const std::int32_t* __restrict__ device, const std::int32_t* __restrict__ count, int capacity,
                  const float* __restrict__ v_b, const float* __restrict__ mean_v, int known, int subcarriers,
                  int antennas, int coefficients, int slots, Complex* __restrict__ z, float* __restrict__ power_out,
                  float* __restrict__ noise) {
  const int a = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  if (!goes(go) || a >= limited(count, capacity)) return;
  double* const part = dynamic_shared<double>();  // [kThreads]
  Complex* const correlation = reinterpret_cast<Complex*>(part + kThreads);
  const int k = device[batch() * capacity + a], lane = thread % kBeams, warp = thread / kBeams;
  const int at = slot ? slot[batch() * q.devices + k] : -1, size = coefficients * antennas;
  const std::int64_t place = batch() * capacity + a;
  r += batch() * subcarriers * q.symbols * antennas;
  if (at >= 0) s += (batch() * slots + at) * size;
  z += place * size;
  double energy = 0;
  for (int first = 0; first < antennas; first += kBeams) {
    const int beam = first + lane;
    const bool inside = beam < antennas;
    __syncthreads();
    for (int n = warp; n < subcarriers; n += kWarps) {
      Complex total{0.0f, 0.0f};
      for (int t = 0; t < q.symbols; ++t) {
        const Complex w = q.conjugate_of(n, t, static_cast<unsigned>(k));
        if (inside) total = total + w * r[(static_cast<std::int64_t>(t) * subcarriers + n) * antennas + beam];
      }
      correlation[n * kBeams + lane] = total;
    }
    __syncthreads();
    if (!inside) continue;
    for (int p = warp; p < coefficients; p += kWarps) {
      Complex total{0.0f, 0.0f};
      for (int n = 0; n < subcarriers; ++n)
        total = total + conjugate(basis[n * coefficients + p]) * correlation[n * kBeams + lane];
      if (at >= 0) total = total + s[p * antennas + beam];
      z[p * antennas + beam] = total;
      energy += static_cast<double>(norm(total));
    }
  }
  if (v_b == nullptr) return;
  v_b += batch() * antennas;
  float power = 1.0f;
  if (!known) {
    energy = block_sum(energy, part);
    const float mean = mean_v[batch() * kControlWords];
    power = device_power(energy, static_cast<float>(subcarriers * antennas),
                         mean * static_cast<float>(coefficients) / static_cast<float>(subcarriers), mean);
    const float gain = 1.0f / sqrtf(power);
    for (int beam = lane; beam < antennas; beam += kBeams)  // each thread what it wrote itself
      for (int p = warp; p < coefficients; p += kWarps) z[p * antennas + beam] = z[p * antennas + beam] * gain;
  }
  for (int b = thread; b < antennas; b += kThreads) noise[place * antennas + b] = v_b[b] / power;
  if (thread == 0) power_out[place] = power;
}

// One block: one group of coefficients, `beams` beams. The spectrum [K, beams] is filled row by row, so that no two
// threads add to one place.
__global__ void __launch_bounds__(kThreads)
    spectral_kernel(const std::int32_t* go, const __grid_constant__ SpectralInput all, float amplitude,
                    const __grid_constant__ BlockFft plan, int beams, const __grid_constant__ SpectralOutput all_out) {
  if (!goes(go)) return;
  Complex* const x = dynamic_shared<Complex>();
  const SpectralInput input = all.of_batch();
  const SpectralOutput output = all_out.of_batch();
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
    residual_kernel(const std::int32_t* go, const Complex* __restrict__ y, const float* __restrict__ scale,
                    const float* __restrict__ gram, const Complex* __restrict__ big, Pilots q,
                    const Complex* __restrict__ basis, const Complex* __restrict__ s,
                    const std::int32_t* __restrict__ device, const std::int32_t* __restrict__ count, int capacity,
                    int subcarriers, int antennas, int coefficients, Complex* __restrict__ r,
                    float* __restrict__ power) {
  if (!goes(go)) return;
  const int lane = static_cast<int>(threadIdx.x), warp = static_cast<int>(threadIdx.y);
  Complex* const x = dynamic_shared<Complex>();                       // [kTogether, kBeams]
  Complex* const symbol = x + kTogether * kBeams + warp * kTogether;  // pilots of one symbol, a warp's own
  float* const partial = reinterpret_cast<float*>(x + kTogether * (kBeams + kWarps));
  const int n = static_cast<int>(blockIdx.x), beam = static_cast<int>(blockIdx.y) * kBeams + lane;
  const bool inside = beam < antennas;
  const int total_count = limited(count, capacity);
  const float unit = scale ? scale[batch() * kControlWords] : 1.0f;
  const std::int64_t block = batch() * subcarriers * q.symbols * antennas;
  s += batch() * capacity * coefficients * antennas;
  device += batch() * capacity;
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
      const std::int64_t at = block + (static_cast<std::int64_t>(t) * subcarriers + n) * antennas + beam;
      Complex total{0.0f, 0.0f};
      if (inside && first > 0) total = r[at];
      if (inside && first == 0 && y) total = y[at] * unit;
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
  power[(batch() * subcarriers + n) * antennas + beam] = mine;
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
            const std::int32_t* go, const float* v_b, const float* mean_v, int known, int capacity, int devices,
            int subcarriers, int symbols, int antennas, int coefficients, int slots, int batch, float* z, float* power,
            float* noise, void* stream) {
  if (capacity == 0) return;
  launch("gather", gather_kernel, dim3(static_cast<unsigned>(capacity), 1, static_cast<unsigned>(batch)), kThreads,
         sizeof(double) * kThreads + sizeof(Complex) * static_cast<std::size_t>(subcarriers) * kBeams, stream, go,
         complex(r), pilots(rows, twiddle, array, devices, symbols), complex(basis), slot, complex(s), device, count,
         capacity, v_b, mean_v, known, subcarriers, antennas, coefficients, slots, complex(z), power, noise);
}

void spectral(const float* r, const std::int32_t* row_start, const std::int32_t* by_row, float amplitude,
              const float* basis, const std::int32_t* slot, const float* s, const float* fft_twiddle,
              const float* fft_root, const float* chirp, const float* chirp_dft, const std::int32_t* go, int devices,
              int subcarriers, int symbols, int antennas, int coefficients, int merge, int slots, int batch, float* z,
              float* energy, void* stream) {
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
  while (beams > 1 && (groups * blocks(antennas, beams) * static_cast<unsigned>(batch) < kProcessors ||
                       2 * each * static_cast<std::size_t>(beams) > kMostShared))
    beams /= 2;
  launch("spectral", spectral_kernel, dim3(groups, blocks(antennas, beams), static_cast<unsigned>(batch)), kThreads,
         each * static_cast<std::size_t>(beams), stream, go,
         SpectralInput{complex(r), row_start, by_row, complex(basis), subcarriers * symbols, subcarriers, antennas,
                       coefficients},
         amplitude, plan, beams,
         SpectralOutput{slot, complex(s), complex(z), energy, devices, antennas, coefficients, merge, slots});
}

void residual(const float* y, const float* scale, const float* gram, const float* big, const std::int32_t* rows,
              const float* twiddle, const float* array, const float* basis, const float* s, const std::int32_t* device,
              const std::int32_t* count, const std::int32_t* go, int capacity, int devices, int subcarriers,
              int symbols, int antennas, int coefficients, int batch, float* r, float* power, void* stream) {
  launch("residual", residual_kernel,
         dim3(static_cast<unsigned>(subcarriers), blocks(antennas, kBeams), static_cast<unsigned>(batch)),
         dim3(kBeams, kWarps), sizeof(Complex) * kTogether * (kBeams + kWarps) + sizeof(float) * kWarps * kBeams,
         stream, go, complex(y), scale, gram, complex(big), pilots(rows, twiddle, array, devices, symbols),
         complex(basis), complex(s), device, count, capacity, subcarriers, antennas, coefficients, complex(r), power);
}

}  // namespace jadce::cuda

#include "core/launch.hpp"
#include "kernels/pilot_transform_cuda.hpp"

namespace jadce::cuda {

namespace {

constexpr int kBeams = 32;  // beams of a block, one a lane
constexpr int kGroups = 8;  // warps of a block; each takes every eighth subcarrier, then every eighth coefficient

__device__ float2 fma(float2 total, float2 a, float2 b) {
  total.x += a.x * b.x - a.y * b.y;
  total.y += a.x * b.y + a.y * b.x;
  return total;
}

// One block: one device, kBeams beams. Correlations over symbols go to shared memory [N, kBeams], then the KLT.
__global__ void __launch_bounds__(kBeams* kGroups)
    gather_kernel(const float2* __restrict__ r, const std::int32_t* __restrict__ rows,
                  const float2* __restrict__ twiddle, const float2* __restrict__ basis,
                  const std::int64_t* __restrict__ device, unsigned devices, int subcarriers, int symbols, int antennas,
                  int coefficients, float2* __restrict__ z) {
  float2* const correlation = dynamic_shared<float2>();
  const auto k = static_cast<unsigned long long>(device[blockIdx.x]);
  const int lane = static_cast<int>(threadIdx.x), beam = static_cast<int>(blockIdx.y) * kBeams + lane;
  const bool inside = beam < antennas;
  for (int n = static_cast<int>(threadIdx.y); n < subcarriers; n += kGroups) {
    float2 total = make_float2(0.0f, 0.0f);
    for (int t = 0; t < symbols; ++t) {
      const auto row = static_cast<unsigned long long>(rows[n * symbols + t]);
      const float2 q = twiddle[row * k % devices];
      if (inside) total = fma(total, q, r[(static_cast<std::int64_t>(t) * subcarriers + n) * antennas + beam]);
    }
    correlation[n * kBeams + lane] = total;
  }
  __syncthreads();
  if (!inside) return;
  for (int p = static_cast<int>(threadIdx.y); p < coefficients; p += kGroups) {
    float2 total = make_float2(0.0f, 0.0f);
    for (int n = 0; n < subcarriers; ++n) {
      float2 v = basis[n * coefficients + p];
      v.y = -v.y;
      total = fma(total, v, correlation[n * kBeams + lane]);
    }
    z[(static_cast<std::int64_t>(blockIdx.x) * coefficients + p) * antennas + beam] = total;
  }
}

}  // namespace

int device_count(const char** message) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  *message = error == cudaSuccess ? (count > 0 ? "" : "no CUDA device") : cudaGetErrorString(error);
  return error == cudaSuccess ? count : 0;
}

void gather(const float* r, const std::int32_t* rows, const float* twiddle, const float* basis,
            const std::int64_t* device, std::int64_t count, int devices, int subcarriers, int symbols, int antennas,
            int coefficients, float* z, void* stream) {
  if (count == 0) return;
  launch("gather", gather_kernel, dim3(static_cast<unsigned>(count), blocks(antennas, kBeams)), dim3(kBeams, kGroups),
         sizeof(float2) * static_cast<std::size_t>(subcarriers) * kBeams, stream, reinterpret_cast<const float2*>(r),
         rows, reinterpret_cast<const float2*>(twiddle), reinterpret_cast<const float2*>(basis), device,
         static_cast<unsigned>(devices), subcarriers, symbols, antennas, coefficients, reinterpret_cast<float2*>(z));
}

}  // namespace jadce::cuda

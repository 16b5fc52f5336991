#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "core/launch.hpp"
#include "kernels/beam_network/beam_network.hpp"
#include "kernels/beam_network/beam_network_cuda.hpp"
#include "kernels/beam_network/beam_network_element_cuda.hpp"

namespace jadce::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kTile = 4;  // output channels of a thread

enum class Then { kStore, kSilu, kAdd };

// The network for one candidate, in shared memory.
struct Layout : NetworkShape {
  int coefficients, antennas;

  JADCE_INLINE int row() const { return (antennas + 3) / 4 * 4; }
  JADCE_INLINE static int padded(int channels) { return (channels + 7) / 8 * 8; }
  JADCE_INLINE int features() const { return 3 * coefficients + 1; }
  JADCE_INLINE int outputs() const { return 2 * coefficients + 1; }
  // Rows of shared memory: features or outputs, trunk, depthwise result, hidden.
  JADCE_INLINE int rows() const { return padded(features()) + padded(width) + width + padded(hidden); }
  std::size_t bytes() const {
    return sizeof(float) * static_cast<std::size_t>(rows()) * static_cast<std::size_t>(row());
  }
};

// kTile channels by B beams in a thread's registers. x [inputs, row] and out [padded(outputs), row] are shared memory.
// Returns the next layer's weights, after a barrier.
template <int B, Then then>
__device__ const float* dense_tiles(const float* x, int row, int inputs, int outputs, const float* __restrict__ layer,
                                    float* out) {
  const int padded = Layout::padded(outputs), beam_tiles = row / B;
  const float* const weights = layer + padded;
  for (int tile = static_cast<int>(threadIdx.x); tile < padded / kTile * beam_tiles; tile += kThreads) {
    const int o = tile / beam_tiles * kTile, beam = tile % beam_tiles * B;
    const float* const w = weights + (o / kOutputs * inputs) * kOutputs + o % kOutputs;
    float acc[kTile][B];
#pragma unroll
    for (int i = 0; i < kTile; ++i)
#pragma unroll
      for (int j = 0; j < B; ++j) acc[i][j] = layer[o + i];
    for (int c = 0; c < inputs; ++c) {
      const float4 q = *reinterpret_cast<const float4*>(w + c * kOutputs);
      const float channel[kTile] = {q.x, q.y, q.z, q.w};
      float value[B];
      if constexpr (B == 4) {
        const float4 v = *reinterpret_cast<const float4*>(x + c * row + beam);
        value[0] = v.x;
        value[1] = v.y;
        value[2] = v.z;
        value[3] = v.w;
      } else {
        const float2 v = *reinterpret_cast<const float2*>(x + c * row + beam);
        value[0] = v.x;
        value[1] = v.y;
      }
#pragma unroll
      for (int i = 0; i < kTile; ++i)
#pragma unroll
        for (int j = 0; j < B; ++j) acc[i][j] += channel[i] * value[j];
    }
#pragma unroll
    for (int i = 0; i < kTile; ++i)
#pragma unroll
      for (int j = 0; j < B; ++j) {
        float* const to = out + (o + i) * row + beam + j;
        float value = acc[i][j];
        if constexpr (then == Then::kSilu) value = value / (1.0f + expf(-value));
        if constexpr (then == Then::kAdd) value += *to;
        *to = value;
      }
  }
  __syncthreads();
  return weights + padded * inputs;
}

// Four beams a thread where that keeps all threads busy, else two.
template <Then then>
__device__ const float* dense(const float* x, int row, int inputs, int outputs, const float* layer, float* out) {
  if (Layout::padded(outputs) / kTile * (row / 4) >= kThreads)
    return dense_tiles<4, then>(x, row, inputs, outputs, layer, out);
  return dense_tiles<2, then>(x, row, inputs, outputs, layer, out);
}

// One short convolution over beams per channel; beams are periodic.
__device__ const float* depthwise(const Layout& s, const float* x, int dilation, const float* __restrict__ layer,
                                  float* out) {
  const float* const weights = layer + s.width;
  const int row = s.row(), reach = s.taps / 2 * dilation % s.antennas;
  for (int i = static_cast<int>(threadIdx.x); i < s.width * row; i += kThreads) {
    const int c = i / row;
    int beam = (i - c * row + s.antennas - reach) % s.antennas;
    float total = layer[c];
    for (int t = 0; t < s.taps; ++t) {
      total += weights[c * s.taps + t] * x[c * row + beam];
      beam = (beam + dilation) % s.antennas;
    }
    out[i] = total;
  }
  __syncthreads();
  return weights + s.width * s.taps;
}

// One block: one candidate. The second axis of the grid: independent blocks.
__global__ void __launch_bounds__(kThreads, 2)
    network_kernel(const __grid_constant__ BeamNetworkArgs args, const float* __restrict__ eigenvalue,
                   const float* __restrict__ weights, const std::int32_t* __restrict__ dilation,
                   const __grid_constant__ Layout s) {
  after_previous();
  const int first = static_cast<int>(threadIdx.x), batch = static_cast<int>(blockIdx.y);
  if (static_cast<int>(blockIdx.x) >= candidates_of(args, batch)) return;
  const std::int64_t candidate = static_cast<std::int64_t>(batch) * args.capacity + blockIdx.x;
  const int row = s.row(), p_all = s.coefficients;
  float* const inputs = dynamic_shared<float>();
  float* const trunk = inputs + Layout::padded(s.features()) * row;
  float* const mixed = trunk + Layout::padded(s.width) * row;
  float* const hidden = mixed + s.width * row;
  const Complex* const z = args.z + candidate * p_all * s.antennas;
  const float* const noise = args.noise + candidate * s.antennas;
  Complex* __restrict__ mean = args.mean + candidate * p_all * s.antennas;
  float* __restrict__ var = args.var + candidate * s.antennas;
  for (int i = first; i < (p_all + 1) * row; i += kThreads) {
    const int p = i / row, beam = i - p * row;
    const bool inside = beam < s.antennas;
    const float level = inside ? noise_level(noise[beam]) : 1.0f;
    if (p == p_all) {
      inputs[3 * p_all * row + beam] = level_feature(level);
    } else {
      const Features f = features(inside ? z[p * s.antennas + beam] : Complex{0.0f, 0.0f}, eigenvalue[p], level);
      inputs[p * row + beam] = f.re;
      inputs[(p_all + p) * row + beam] = f.im;
      inputs[(2 * p_all + p) * row + beam] = f.energy;
    }
  }
  __syncthreads();
  const float* layer = dense<Then::kStore>(inputs, row, s.features(), s.width, weights, trunk);
  for (int i = 0; i < s.blocks; ++i) {
    layer = depthwise(s, trunk, dilation[i], layer, mixed);
    layer = dense<Then::kSilu>(mixed, row, s.width, s.hidden, layer, hidden);
    layer = dense<Then::kAdd>(hidden, row, s.hidden, s.width, layer, trunk);
  }
  float* const f = inputs;
  dense<Then::kStore>(trunk, row, s.width, s.outputs(), layer, f);
  for (int i = first; i < p_all * s.antennas; i += kThreads) {
    const int p = i / s.antennas, beam = i - p * s.antennas;
    const Complex correction{f[p * row + beam], f[(p_all + p) * row + beam]};
    mean[i] = posterior_mean(z[i], eigenvalue[p], noise_level(noise[beam]), correction);
  }
  for (int beam = first; beam < s.antennas; beam += kThreads)
    var[beam] =
        posterior_var(eigenvalue, p_all, noise_level(noise[beam]), f[2 * p_all * row + beam], args.sizes.subcarriers);
}

}  // namespace

void beam_network(const BeamNetworkArgs& args, void* stream) {
  const Layout s{args.shape, args.sizes.coefficients, args.sizes.antennas};
  const std::size_t shared = s.bytes();
  if (s.width * (s.taps + 1) % 4 != 0)
    throw std::runtime_error("beam_network: expected width (taps + 1) to be a multiple of four, found width " +
                             std::to_string(s.width) + ", taps " + std::to_string(s.taps));
  if (shared > kMostShared)
    throw std::runtime_error("beam_network: activations of " + std::to_string(s.antennas) + " antennas need " +
                             std::to_string(shared) + " bytes of shared memory, a block has " +
                             std::to_string(kMostShared));
  launch("beam_network", network_kernel,
         dim3(static_cast<unsigned>(args.capacity), static_cast<unsigned>(args.sizes.batch)), kThreads, shared, stream,
         args, args.eigenvalue, static_cast<const float*>(args.weights), args.dilation, s);
}

bool beam_network_fits(const NetworkShape& shape, int coefficients, int antennas) {
  return shape.width * (shape.taps + 1) % 4 == 0 && Layout{shape, coefficients, antennas}.bytes() <= kMostShared;
}

}  // namespace jadce::cuda

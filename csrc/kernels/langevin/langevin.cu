#include <utility>

#include "core/block_cuda.hpp"
#include "kernels/langevin/langevin.hpp"
#include "kernels/langevin/langevin_cuda.hpp"

namespace jadce::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kMostTile = 16;

struct ScalarMath {
  JADCE_INLINE static std::uint32_t word(std::uint32_t x) { return x; }
  JADCE_INLINE static float number(std::uint32_t x) { return static_cast<float>(x); }
  JADCE_INLINE static float max(float a, float b) { return a > b ? a : b; }
  JADCE_INLINE static float exp(float x) { return expf(x); }
  JADCE_INLINE static float log(float x) { return logf(x); }
  JADCE_INLINE static float sqrt(float x) { return sqrtf(x); }
  JADCE_INLINE static void multiply(std::uint32_t a, std::uint32_t b, std::uint32_t& high, std::uint32_t& low) {
    const std::uint64_t product = std::uint64_t{a} * b;
    high = static_cast<std::uint32_t>(product >> 32);
    low = static_cast<std::uint32_t>(product);
  }
};

struct Sizes {
  int chains, devices, antennas, components, tile;

  JADCE_INLINE int parts() const { return (antennas + tile - 1) / tile; }
  JADCE_INLINE std::int64_t state() const { return std::int64_t{devices} * antennas; }
};

__device__ int thread() { return static_cast<int>(threadIdx.x); }

__device__ MixtureView mixture_of(const float* mixture, const float* level, int block, int components) {
  const float* rate = mixture + std::int64_t{block} * 3 * components;
  return {components, level[4 * block + 3], rate, rate + components, rate + 2 * components};
}

// Energy of a column: its parts in order.
__device__ float column_energy(const float* energy, Sizes s, int chain, int n) {
  const float* part = energy + std::int64_t{chain} * s.parts() * s.devices + n;
  float total = 0.0f;
  for (int p = 0; p < s.parts(); ++p) total += part[std::int64_t{p} * s.devices];
  return total;
}

// gain [K] of all columns of one chain, zero where they do not count; `counting` gets those that do, in order.
__device__ int counting_columns(const MixtureView& m, Sizes s, const float* energy, int chain, float* gain,
                                std::int32_t* counting, int* part) {
  const float least = least_energy(s.antennas, m.noise_var);
  const float log_least = logf(least), log_components = logf(static_cast<float>(s.components));
  int count = 0;
  for (int first = 0; first < s.devices; first += kThreads) {
    const int n = first + thread();
    float g = 0.0f;
    bool counts = false;
    if (n < s.devices) {
      const float e = column_energy(energy, s, chain, n);
      if (may_count<ScalarMath>(m, e, log_components, log_least) > 0.0f) {
        g = column_posterior<ScalarMath>(m, e).gain;
        counts = g * g * e > least;
      }
      gain[n] = counts ? g : 0.0f;
    }
    int now = 0;
    const int before = count_before(counts, part, now);
    if (counts) counting[count + before] = n;
    count += now;
  }
  return count;
}

// One block: `tile` antennas and kThreads / tile columns of one chain, one entry a thread.
__global__ void __launch_bounds__(kThreads) step_kernel(LangevinStepsArgs a, Sizes s) {
  after_previous();
  Complex* const rows = dynamic_shared<Complex>();                           // [K, tile], what the matrix works on
  Complex* const noise = rows + s.devices * s.tile;                          // [K, tile]
  float* const gain = reinterpret_cast<float*>(noise + s.devices * s.tile);  // [K]
  std::int32_t* const counting = reinterpret_cast<std::int32_t*>(gain + s.devices);  // [K]
  int* const part = reinterpret_cast<int*>(counting + s.devices);                    // [32]
  const int chain = a.chain[blockIdx.z], block = chain / s.chains;
  const int lane = thread() % s.tile, m = static_cast<int>(blockIdx.y) * s.tile + lane;
  const int first = static_cast<int>(blockIdx.x) * (kThreads / s.tile), n = first + thread() / s.tile;
  const Complex* const x = a.x + chain * s.state();
  const Complex* const mean = a.mean ? a.mean + chain * s.state() : nullptr;
  const float keep = a.level[4 * block], shift = a.level[4 * block + 1], white = a.level[4 * block + 2];

  int count = 0;
  if (!mean && s.components)
    count =
        counting_columns(mixture_of(a.mixture, a.level, block, s.components), s, a.energy, chain, gain, counting, part);
  const bool everyone = mean || !a.denoised;
  if (everyone) count = s.devices;
  if (!a.matrix) count = 0;
  __syncthreads();
  for (int i = thread(); i < count * s.tile; i += kThreads) {
    const int k = everyone ? i / s.tile : counting[i / s.tile], at = i % s.tile;
    const int antenna = static_cast<int>(blockIdx.y) * s.tile + at;
    Complex value{0.0f, 0.0f};
    if (antenna < s.antennas) {
      const std::int64_t entry = std::int64_t{k} * s.antennas + antenna;
      value = !a.denoised ? x[entry] : mean ? mean[entry] : x[entry] * gain[k];
    }
    rows[i] = value;
  }
  const int drawn = first + kThreads / s.tile < s.devices ? first + kThreads / s.tile : s.devices;
  const int from = a.factor ? 0 : first / 2;
  for (int i = thread(); i < ((drawn + 1) / 2 - from) * s.tile; i += kThreads) {
    const int pair = from + i / s.tile, at = i % s.tile;
    float z[4];
    column_noise<ScalarMath>(static_cast<std::uint32_t>(static_cast<int>(blockIdx.y) * s.tile + at),
                             static_cast<std::uint32_t>(pair),
                             NoiseKey{a.seed, static_cast<std::uint32_t>(chain % s.chains), a.step}, z);
    noise[2 * pair * s.tile + at] = {z[0], z[1]};
    if (2 * pair + 1 < s.devices) noise[(2 * pair + 1) * s.tile + at] = {z[2], z[3]};
  }
  __syncthreads();

  float energy = 0.0f;
  if (n < s.devices && m < s.antennas) {
    const std::int64_t entry = std::int64_t{n} * s.antennas + m, square = std::int64_t{s.devices} * s.devices;
    Complex sum{0.0f, 0.0f};
    const Complex* const matrix = a.matrix + block * square + n;
    for (int k = 0; k < count; ++k)
      sum = sum + rows[k * s.tile + lane] * matrix[std::int64_t{everyone ? k : counting[k]} * s.devices];
    if (a.factor) {
      const Complex* const factor = a.factor + block * square + n;
      for (int i = 0; i <= n; ++i) sum = sum + noise[i * s.tile + lane] * factor[std::int64_t{i} * s.devices];
    } else {
      sum = sum + noise[n * s.tile + lane] * white;
    }
    sum = sum + x[entry] * keep;
    if (shift != 0.0f) sum = sum + (mean ? mean[entry] * shift : x[entry] * (shift * gain[n]));
    if (a.force) sum = sum + a.force[block * s.state() + entry];
    a.other_x[chain * s.state() + entry] = sum;
    energy = norm(sum);
  }
  for (int half = s.tile / 2; half > 0; half /= 2) energy += __shfl_xor_sync(~0u, energy, half, s.tile);
  if (lane == 0 && n < s.devices)
    a.other_energy[(std::int64_t{chain} * s.parts() + blockIdx.y) * s.devices + n] = energy;
}

// One warp: one column of one chain.
__global__ void __launch_bounds__(kThreads) posterior_kernel(LangevinPosteriorArgs a, Sizes s) {
  after_previous();
  const int chain = a.chain[blockIdx.y], block = chain / s.chains, lane = thread() % 32;
  const int n = static_cast<int>(blockIdx.x) * (kThreads / 32) + thread() / 32;
  if (n >= s.devices) return;
  const MixtureView m = mixture_of(a.mixture, a.level, block, s.components);
  const float e = column_energy(a.energy, s, chain, n), each = e / static_cast<float>(s.antennas);
  const ColumnPosterior<float> p = column_posterior<ScalarMath>(m, e);
  const std::int64_t first = chain * s.state() + std::int64_t{n} * s.antennas;
  for (int i = lane; i < s.antennas; i += 32) a.mean[first + i] = a.mean[first + i] + a.x[first + i] * p.gain;
  if (lane > 0) return;
  const std::int64_t at = std::int64_t{chain} * s.devices + n;
  a.power[at] += p.gain * p.gain * each + p.variance(m.noise_var, each);
  a.probability[at] += p.probability;
}

// One block: a share of the entries of one received block.
__global__ void __launch_bounds__(kThreads) watch_kernel(LangevinWatchArgs a, Sizes s) {
  after_previous();
  double* const part = dynamic_shared<double>();                                // [kThreads]
  std::int32_t* const well = reinterpret_cast<std::int32_t*>(part + kThreads);  // [C]
  const int block = static_cast<int>(blockIdx.y), numbers = s.parts() * s.devices;
  int count = 0;
  for (int c = 0; c < s.chains; ++c) {
    const int chain = block * s.chains + c;
    double total = 0;
    for (int i = thread(); i < numbers; i += kThreads)
      total += static_cast<double>(a.energy[std::int64_t{chain} * numbers + i]);
    total = block_sum(total, part);
    const bool good = !a.before[chain] && total < static_cast<double>(a.bound[block]) * static_cast<double>(s.state());
    if (thread() == 0) {
      well[c] = good;
      if (blockIdx.x == 0) a.after[chain] = !good;
    }
    count += good;
  }
  __syncthreads();
  double total = 0;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + thread(); count > 0 && i < s.state();
       i += kThreads * kSpreadParts) {
    const Complex* const entry = a.x + std::int64_t{block} * s.chains * s.state() + i;
    Complex middle{0.0f, 0.0f};
    for (int c = 0; c < s.chains; ++c)
      if (well[c]) middle = middle + entry[c * s.state()];
    middle = middle * (1.0f / static_cast<float>(count));
    float squares = 0.0f;
    for (int c = 0; c < s.chains; ++c)
      if (well[c]) squares += norm(entry[c * s.state()] - middle);
    total += static_cast<double>(squares / static_cast<float>(count));
  }
  total = block_sum(total, part);
  if (thread() == 0)
    a.spread[block * kSpreadParts + static_cast<int>(blockIdx.x)] =
        static_cast<float>(total / static_cast<double>(s.state()));
}

__global__ void __launch_bounds__(kThreads) noise_kernel(LangevinNoiseArgs a) {
  after_previous();
  const int i = static_cast<int>(blockIdx.x) * kThreads + thread();
  if (i >= a.count * a.pairs) return;
  std::uint32_t word[4] = {static_cast<std::uint32_t>(i / a.pairs), static_cast<std::uint32_t>(i % a.pairs), a.chain,
                           a.step};
  float z[4];
  column_noise<ScalarMath>(word[0], word[1], NoiseKey{a.seed, a.chain, a.step}, z);
  philox<ScalarMath>(word, a.seed);
  for (int k = 0; k < 4; ++k) {
    a.words[4 * i + k] = word[k];
    a.normals[4 * i + k] = z[k];
  }
}

std::size_t step_bytes(int devices, int tile) {
  return static_cast<std::size_t>(devices) * (2 * sizeof(Complex) * static_cast<std::size_t>(tile) + 8) + 32 * 4;
}

template <class Args>
Sizes sizes(const Args& a, int components) {
  return {a.chains, a.devices, a.antennas, components, langevin_tile(a.devices, a.antennas)};
}

}  // namespace

int langevin_tile(int devices, int antennas) {
  int tile = 1;
  while (tile < kMostTile && tile < antennas) tile *= 2;
  while (tile > 0 && step_bytes(devices, tile) > kMostShared) tile /= 2;
  return tile;
}

void langevin_steps(const LangevinStepsArgs& args, void* stream) {
  const Sizes s = sizes(args, args.components);
  const dim3 grid(blocks(s.devices, kThreads / s.tile), static_cast<unsigned>(s.parts()),
                  static_cast<unsigned>(args.rows));
  LangevinStepsArgs a = args;
  for (int i = 0; i < args.steps; ++i) {
    launch("langevin_steps", step_kernel, grid, kThreads, step_bytes(s.devices, s.tile), stream, a, s);
    std::swap(a.x, a.other_x);
    std::swap(a.energy, a.other_energy);
    ++a.step;
  }
}

void langevin_posterior(const LangevinPosteriorArgs& a, void* stream) {
  const dim3 grid(blocks(a.devices, kThreads / 32), static_cast<unsigned>(a.rows));
  launch("langevin_posterior", posterior_kernel, grid, kThreads, 0, stream, a, sizes(a, a.components));
}

void langevin_watch(const LangevinWatchArgs& a, void* stream) {
  launch("langevin_watch", watch_kernel, dim3(kSpreadParts, static_cast<unsigned>(a.blocks)), kThreads,
         sizeof(double) * kThreads + sizeof(std::int32_t) * static_cast<std::size_t>(a.chains), stream, a, sizes(a, 0));
}

void langevin_noise(const LangevinNoiseArgs& a, void* stream) {
  launch("langevin_noise", noise_kernel, blocks(std::int64_t{a.count} * a.pairs, kThreads), kThreads, 0, stream, a);
}

}  // namespace jadce::cuda

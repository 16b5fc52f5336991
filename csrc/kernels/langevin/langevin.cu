#include "core/block_cuda.hpp"
#include "core/tensor_cuda.hpp"
#include "core/together_cuda.hpp"
#include "kernels/langevin/langevin.hpp"
#include "kernels/langevin/langevin_cuda.hpp"

namespace jadce::cuda {

namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kDenoised = 2, kDrawn = kLangevinExchange - kDenoised;  // arrays that take turns

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

// What a block keeps in shared memory. It owns every `cluster`-th column, at most `own` of them.
struct Layout {
  int own, padded, tile;  // tile: lanes of a warp that take antennas; the others share the sums
  bool tables, exchange;  // in shared memory; the states are where the exchange is

  JADCE_INLINE int table() const { return own * padded; }  // of a level
};

std::size_t table_bytes(const Layout& s) {
  return s.tables ? 2 * sizeof(Complex) * static_cast<std::size_t>(s.table()) : 0;
}

std::size_t exchange_bytes(const Layout& s, int devices, int antennas) {
  const auto m = static_cast<std::size_t>(antennas);
  return sizeof(Complex) * m *
         (kLangevinExchange * static_cast<std::size_t>(devices) + static_cast<std::size_t>(s.own));
}

Layout layout(int devices, int antennas, int cluster) {
  int device = 0, most = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  const auto room = static_cast<std::size_t>(most);
  Layout s{static_cast<int>(blocks(devices, cluster)), devices + devices % 2, 1, true, true};
  while (s.tile < 32 && s.tile < antennas) s.tile *= 2;
  // Tables are read whole in every step, the arrays of an exchange in part.
  s.tables = table_bytes(s) <= room;
  s.exchange = table_bytes(s) + exchange_bytes(s, devices, antennas) <= room;
  return s;
}

__device__ int thread() { return static_cast<int>(threadIdx.x); }

__device__ float warp_sum(float x) {
  for (int other = 16; other > 0; other /= 2) x += __shfl_xor_sync(~0u, x, other);
  return x;
}

__device__ float warp_max(float x) {
  for (int other = 16; other > 0; other /= 2) x = ScalarMath::max(x, __shfl_xor_sync(~0u, x, other));
  return x;
}

__device__ float column_energy(const Complex* x, int antennas) {
  float total = 0.0f;
  for (int m = thread() % 32; m < antennas; m += 32) total += norm(x[m]);
  return warp_sum(total);
}

// Exact posterior of a column by a warp: its gain, and all else if it is wanted.
__device__ ColumnPosterior<float> posterior_of(const MixtureView& m, float energy, bool whole) {
  const float zero = -energy / m.noise_var;
  float top = zero;
  for (index_t g = thread() % 32; g < m.components; g += 32)
    top = ScalarMath::max(top, m.offset[g] - energy * m.rate[g]);
  top = warp_max(top);
  MixtureSums<float> sums{};
  for (index_t g = thread() % 32; g < m.components; g += 32)
    sums.add(ScalarMath::exp(m.offset[g] - energy * m.rate[g] - top), m.rate[g], m.gain[g], m.noise_var);
  sums.active = warp_sum(sums.active);
  sums.first = warp_sum(sums.first);
  if (whole) {
    sums.lost = warp_sum(sums.lost);
    sums.second = warp_sum(sums.second);
  }
  return ColumnPosterior<float>(sums, ScalarMath::exp(zero - top));
}

// x [M] += sum over k < count of rows [k, M] table [k], by a warp.
__device__ void add_product(const Complex* rows, const Complex* table, int count, int antennas, int tile, Complex* x) {
  const int part = thread() % 32 / tile, parts = 32 / tile;
  for (int first = 0; first < antennas; first += tile) {
    const int m = first + thread() % tile;
    Complex sum{0.0f, 0.0f};
    if (m < antennas) {
#pragma unroll 4
      for (int k = part; k < count; k += parts) sum = sum + rows[std::int64_t{k} * antennas + m] * table[k];
    }
    for (int other = tile; other < 32; other *= 2)
      sum = sum + Complex{__shfl_xor_sync(~0u, sum.re, other), __shfl_xor_sync(~0u, sum.im, other)};
    if (part == 0 && m < antennas) x[m] = x[m] + sum;
  }
}

// Writes a number of the exchange where all blocks of the cluster read it.
__device__ void tell(Complex* at, Complex value, bool shared, int cluster) {
  if (!shared) {
    *at = value;
    return;
  }
  for (int rank = 0; rank < cluster; ++rank) *of_block(at, static_cast<unsigned>(rank)) = value;
}

// All noise of a step, by the whole cluster.
__device__ void draw(const LangevinAnnealArgs& a, bool shared, int rank, int chain, std::uint32_t counter,
                     Complex* to) {
  const NoiseKey key{a.seed, static_cast<std::uint32_t>(chain % a.chains), counter};
  const int count = (a.devices + 1) / 2 * a.antennas;
  for (int i = rank + a.cluster * thread(); i < count; i += a.cluster * static_cast<int>(blockDim.x)) {
    const int pair = i / a.antennas, m = i % a.antennas;
    float z[4];
    column_noise<ScalarMath>(static_cast<std::uint32_t>(m), static_cast<std::uint32_t>(pair), key, z);
    Complex* const at = to + std::int64_t{2 * pair} * a.antennas + m;
    tell(at, {z[0], z[1]}, shared, a.cluster);
    if (2 * pair + 1 < a.devices) tell(at + a.antennas, {z[2], z[3]}, shared, a.cluster);
  }
}

// One cluster: one chain. A warp owns whole columns, with their part of the state and of the tables, which nobody else
// reads; what others need of it, the denoised columns and the noise, goes through the exchange. A step has one barrier
// of the cluster. Between its halves noise, which was drawn two steps before, goes through its factor.
__global__ void __launch_bounds__(kThreads, 2) anneal_kernel(const __grid_constant__ LangevinAnnealArgs a, Layout s) {
  after_previous();
  const int lane = thread() % 32, warp = thread() / 32, warps = static_cast<int>(blockDim.x) / 32;
  const int row = static_cast<int>(blockIdx.x) / a.cluster, rank = static_cast<int>(blockIdx.x) % a.cluster;
  const int chain = a.chain[row], block = chain / a.chains, owned = (a.devices - rank + a.cluster - 1) / a.cluster;
  const std::int64_t state = std::int64_t{a.devices} * a.antennas, first = chain * state;
  Complex* const tables = dynamic_shared<Complex>();  // [2, own, Kp]
  Complex* const shared = tables + (s.tables ? 2 * s.table() : 0);
  Complex* const denoised = s.exchange ? shared : a.exchange + row * kLangevinExchange * state;  // [kDenoised, K, M]
  Complex* const noise = denoised + kDenoised * state;                                           // [kDrawn, K, M]
  Complex* const kept = shared + kLangevinExchange * state;                                      // [own, M]
  const auto column = [&](int j) { return rank + a.cluster * j; };
  const auto place = [&](int j) { return std::int64_t{column(j)} * a.antennas; };
  const auto own = [&](int j) { return s.exchange ? kept + std::int64_t{j} * a.antennas : a.x + first + place(j); };
  const auto drawn = [&](int i) { return noise + i % kDrawn * state; };

  if (a.start) draw(a, s.exchange, rank, chain, a.step - 1, drawn(kDrawn - 1));
  const int total = a.levels * a.steps + a.average;
  for (int i = 0; i < 2 && i < total; ++i)
    draw(a, s.exchange, rank, chain, a.step + static_cast<std::uint32_t>(i), drawn(i));
  __syncwarp();
  arrive_cluster();
  wait_cluster();
  for (int j = warp; j < owned; j += warps)
    for (int m = lane; m < a.antennas; m += 32)
      own(j)[m] = a.start ? drawn(kDrawn - 1)[place(j) + m] * a.start[block] : a.x[first + place(j) + m];
  __syncwarp();

  int done = 0;
  for (int l = 0; l < a.levels; ++l) {
    const std::int64_t at = std::int64_t{l} * a.blocks + block, square = std::int64_t{a.devices} * s.padded;
    const float keep = a.level[4 * at], shift = a.level[4 * at + 1], white = a.level[4 * at + 2];
    const float* const rate = a.mixture + at * 3 * a.components;
    const MixtureView mixture{a.components, a.level[4 * at + 3], rate, rate + a.components, rate + 2 * a.components};
    const Complex* const matrix = a.matrix + at * square;
    const Complex* const factor = a.factor ? a.factor + at * square : nullptr;
    if (s.tables) {
      for (int j = warp; j < owned; j += warps)
        for (int i = lane; i < s.padded / 2; i += 32) {
          const auto copy = [&](const Complex* from, Complex* to) {
            copy_async(reinterpret_cast<uint4*>(to + j * s.padded) + i,
                       reinterpret_cast<const uint4*>(from + std::int64_t{column(j)} * s.padded) + i);
          };
          copy(matrix, tables);
          if (factor) copy(factor, tables + s.table());
        }
      commit_copies();
    }
    const int more = l + 1 < a.levels ? 0 : a.average;
    for (int i = 0; i < a.steps + more; ++i, ++done) {
      Complex* const now = denoised + done % kDenoised * state;
      for (int j = warp; j < owned; j += warps) {
        Complex* const x = own(j);
        float gain = 0.0f;
        if (!a.mean) {
          const float energy = column_energy(x, a.antennas), each = energy / static_cast<float>(a.antennas);
          const bool counts = i >= a.steps;
          const ColumnPosterior<float> p = posterior_of(mixture, energy, counts);
          gain = p.gain;
          if (counts) {
            for (int m = lane; m < a.antennas; m += 32) {
              Complex* const to = a.sum + first + place(j) + m;
              *to = *to + x[m] * gain;
            }
            if (lane == 0) {
              const std::int64_t to = std::int64_t{chain} * a.devices + column(j);
              a.power[to] += gain * gain * each + p.variance(mixture.noise_var, each);
              a.probability[to] += p.probability;
            }
          }
        }
        for (int m = lane; m < a.antennas; m += 32) {
          const Complex before = x[m], d = a.mean ? a.mean[first + place(j) + m] : before * gain;
          tell(now + place(j) + m, a.denoised ? d : before, s.exchange, a.cluster);
          Complex next = before * keep + a.force[at * state + place(j) + m];
          if (shift != 0.0f) next = next + d * shift;
          if (!factor) next = next + drawn(done)[place(j) + m] * white;
          x[m] = next;
        }
      }
      if (s.tables) wait_copies<0>();
      __syncwarp();
      arrive_cluster();
      if (factor)
        for (int j = warp; j < owned; j += warps) {
          const int n = column(j);
          const Complex* const w = s.tables ? tables + s.table() + j * s.padded : factor + std::int64_t{n} * s.padded;
          add_product(drawn(done), w, n + 1, a.antennas, s.tile, own(j));
        }
      if (done + 2 < total)
        draw(a, s.exchange, rank, chain, a.step + static_cast<std::uint32_t>(done) + 2, drawn(done + 2));
      __syncwarp();
      wait_cluster();
      for (int j = warp; j < owned; j += warps) {
        const Complex* const w = s.tables ? tables + j * s.padded : matrix + std::int64_t{column(j)} * s.padded;
        add_product(now, w, a.devices, a.antennas, s.tile, own(j));
      }
      __syncwarp();
      if (i + 1 != a.steps || !a.seen) continue;
      const std::int64_t level = std::int64_t{l} * a.blocks * a.chains + chain;
      for (int j = warp; j < owned; j += warps) {
        for (int m = lane; m < a.antennas; m += 32) a.seen[level * state + place(j) + m] = own(j)[m];
        const float energy = column_energy(own(j), a.antennas);
        if (lane == 0) a.energy[level * a.devices + column(j)] = energy;
      }
    }
  }
  if (!s.exchange) return;
  for (int j = warp; j < owned; j += warps)
    for (int m = lane; m < a.antennas; m += 32) a.x[first + place(j) + m] = own(j)[m];
}

// One block: one level of one received block.
__global__ void __launch_bounds__(kThreads) watch_kernel(LangevinWatchArgs a) {
  after_previous();
  double* const part = dynamic_shared<double>();                             // [kWarps]
  std::int32_t* const bad = reinterpret_cast<std::int32_t*>(part + kWarps);  // [C]
  const int level = static_cast<int>(blockIdx.x), block = static_cast<int>(blockIdx.y), first = block * a.chains;
  const std::int64_t state = std::int64_t{a.devices} * a.antennas, all = std::int64_t{a.blocks} * a.chains;
  for (int c = thread(); c < a.chains; c += kThreads) bad[c] = a.before[first + c];
  __syncthreads();
  for (int i = thread() / 32; i < (level + 1) * a.chains; i += kWarps) {
    const float* const energy = a.energy + ((i / a.chains) * all + first + i % a.chains) * a.devices;
    float total = 0.0f;
    for (int n = thread() % 32; n < a.devices; n += 32) total += energy[n];
    total = warp_sum(total);
    if (thread() % 32 == 0 && !(total < a.bound[block] * static_cast<float>(state))) bad[i % a.chains] = 1;
  }
  __syncthreads();
  int count = 0;
  for (int c = 0; c < a.chains; ++c) count += !bad[c];
  if (level + 1 == a.levels)
    for (int c = thread(); c < a.chains; c += kThreads) a.after[first + c] = bad[c] != 0;
  double total = 0;
  for (std::int64_t i = thread(); count > 0 && i < state; i += kThreads) {
    const Complex* const entry = a.x + (level * all + first) * state + i;
    Complex middle{0.0f, 0.0f};
    for (int c = 0; c < a.chains; ++c)
      if (!bad[c]) middle = middle + entry[c * state];
    middle = middle * (1.0f / static_cast<float>(count));
    float squares = 0.0f;
    for (int c = 0; c < a.chains; ++c)
      if (!bad[c]) squares += norm(entry[c * state] - middle);
    total += static_cast<double>(squares / static_cast<float>(count));
  }
  total = block_sum(total, part);
  if (thread() == 0) a.spread[level * a.blocks + block] = static_cast<float>(total / static_cast<double>(state));
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

}  // namespace

int langevin_cluster() {
  int device = 0, major = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  return major >= 9 ? 8 : 1;
}

bool langevin_exchanges(int devices, int antennas, int cluster) { return !layout(devices, antennas, cluster).exchange; }

void langevin_anneal(const LangevinAnnealArgs& a, void* stream) {
  const Layout s = layout(a.devices, a.antennas, a.cluster);
  const auto cluster = static_cast<unsigned>(a.cluster);
  const std::size_t exchange = s.exchange ? exchange_bytes(s, a.devices, a.antennas) : 0;
  const auto warps = static_cast<unsigned>(s.own < kWarps ? s.own : kWarps);
  const Shape shape{static_cast<unsigned>(a.rows) * cluster, 32 * warps, table_bytes(s) + exchange, cluster};
  launch("langevin_anneal", anneal_kernel, shape, stream, a, s);
}

void langevin_watch(const LangevinWatchArgs& a, void* stream) {
  const dim3 grid(static_cast<unsigned>(a.levels), static_cast<unsigned>(a.blocks));
  launch("langevin_watch", watch_kernel, grid, kThreads,
         sizeof(double) * kWarps + sizeof(std::int32_t) * static_cast<std::size_t>(a.chains), stream, a);
}

void langevin_noise(const LangevinNoiseArgs& a, void* stream) {
  launch("langevin_noise", noise_kernel, blocks(std::int64_t{a.count} * a.pairs, kThreads), kThreads, 0, stream, a);
}

}  // namespace jadce::cuda

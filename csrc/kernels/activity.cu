#include "core/block_cuda.hpp"
#include "kernels/activity.hpp"
#include "kernels/activity_cuda.hpp"
#include "receiver/rules.hpp"

namespace jadce::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kSide = 8;                  // devices of a block: 32 bytes of energies
constexpr int kSlots = kThreads / kSide;  // beams that it works on at a time
constexpr int kSelectThreads = 1024;
constexpr float kNever = 3e38f;
static_assert(ActivityView::kMostPowers <= kSlots);

// One block: one beam.
__global__ void __launch_bounds__(kThreads)
    table_kernel(const float* __restrict__ energy, const unsigned char* __restrict__ quiet,
                 const std::int32_t* __restrict__ quiet_count, const float* __restrict__ v,
                 const float* __restrict__ multiplicity, const float* __restrict__ eigenvalue,
                 const float* __restrict__ product, int devices, int antennas, int groups, int products,
                 float* __restrict__ null, float* __restrict__ slope, float* __restrict__ offset) {
  float* const part = dynamic_shared<float>();  // [kThreads]
  float* const level = part + kThreads;         // [groups]
  const int thread = static_cast<int>(threadIdx.x), beam = static_cast<int>(blockIdx.x);
  const int count = *quiet_count;
  for (int g = 0; g < groups; ++g) {
    float mean = 0.0f;
    if (count > kEnoughQuiet) {
      const float* const e = energy + (static_cast<std::int64_t>(g) * antennas + beam) * devices;
      for (int k = thread; k < devices; k += kThreads)
        if (quiet[k]) mean += e[k];
      mean = block_sum(mean, part) / (multiplicity[g] * static_cast<float>(count));
    }
    if (thread == 0) {
      const float value = count > kEnoughQuiet ? believed_null(mean, v[beam]) : v[beam];
      level[g] = value;
      null[g * antennas + beam] = value;
    }
  }
  __syncthreads();
  const int padded = (products + 3) / 4 * 4;
  for (int u = thread; u < padded; u += kThreads) {
    float total = 0.0f;
    const int at = beam * padded + u;
    for (int g = 0; g < groups; ++g) {
      float c = 0.0f;
      if (u < products) {
        const float inverse = 1.0f / level[g], ratio = 1.0f + product[u] * eigenvalue[g] * inverse;
        c = inverse * (1.0f - 1.0f / ratio);
        total += multiplicity[g] * logf(ratio);
      }
      slope[((at / 4) * groups + g) * 4 + u % 4] = c;
    }
    offset[at] = u < products ? total : kNever;
  }
}

// One block: kSide devices; threads take beams. Exponents of a beam stay in shared memory [U', kThreads], sums over
// beams in [J, kThreads].
__global__ void __launch_bounds__(kThreads)
    activity_kernel(const float* __restrict__ energy, const float4* __restrict__ slope,
                    const float4* __restrict__ offset, const float* __restrict__ weight,
                    const float* __restrict__ log_power_weight, const std::int32_t* __restrict__ index, float log_odds,
                    int devices, int antennas, int groups, int quads, int gains, int powers, float* __restrict__ llr,
                    float* __restrict__ posterior, unsigned char* __restrict__ quiet) {
  const int thread = static_cast<int>(threadIdx.x), side = thread % kSide, slot = thread / kSide;
  const int k = static_cast<int>(blockIdx.x) * kSide + side;
  float* const f = dynamic_shared<float>() + thread;
  float* const sum = f + 4 * quads * kThreads;
  for (int j = 0; j < powers; ++j) sum[j * kThreads] = 0.0f;
  for (int beam = slot; beam < antennas && k < devices; beam += kSlots) {
    float top = -kNever;
    for (int u = 0; u < quads; ++u) {
      const float4 o = offset[beam * quads + u];
      float4 total = make_float4(-o.x, -o.y, -o.z, -o.w);
      for (int g = 0; g < groups; ++g) {
        const float e = energy[(static_cast<std::int64_t>(g) * antennas + beam) * devices + k];
        const float4 c = slope[(beam * quads + u) * groups + g];
        total.x += c.x * e;
        total.y += c.y * e;
        total.z += c.z * e;
        total.w += c.w * e;
      }
      float* const at = f + 4 * u * kThreads;
      at[0] = total.x;
      at[kThreads] = total.y;
      at[2 * kThreads] = total.z;
      at[3 * kThreads] = total.w;
      top = fmaxf(top, fmaxf(fmaxf(total.x, total.y), fmaxf(total.z, total.w)));
    }
    for (int u = 0; u < 4 * quads; ++u) f[u * kThreads] = expf(f[u * kThreads] - top);
    for (int j = 0; j < powers; ++j) {
      float mixed = 0.0f;
      for (int i = 0; i < gains; ++i) mixed += weight[i] * f[index[j * gains + i] * kThreads];
      sum[j * kThreads] += top + logf(fmaxf(mixed, 1.17549435e-38f));
    }
  }
  __syncthreads();
  float* const all = sum - thread;
  if (slot < powers) {
    float total = log_power_weight[slot];
    for (int i = 0; i < kSlots; ++i) total += all[slot * kThreads + i * kSide + side];
    f[0] = total;
  }
  __syncthreads();
  if (slot > 0 || k >= devices) return;
  float best = -kNever, total = 0.0f;
  for (int j = 0; j < powers; ++j) best = fmaxf(best, f[j * kSide]);
  for (int j = 0; j < powers; ++j) total += expf(f[j * kSide] - best);
  const float value = best + logf(total) + log_odds;
  llr[k] = value;
  posterior[k] = sigmoid(value);
  quiet[k] = value < kQuiet;
}

// Rises with x.
__device__ unsigned key(float x) {
  const unsigned bits = __float_as_uint(x);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// One block. If there are too many, the least key that is taken is found byte by byte.
__global__ void __launch_bounds__(kSelectThreads)
    select_kernel(const float* __restrict__ llr, const float* __restrict__ posterior,
                  const unsigned char* __restrict__ quiet, float threshold, int devices, int capacity,
                  std::int32_t* __restrict__ device, float* __restrict__ chosen, std::int32_t* __restrict__ counts) {
  int* const shared = dynamic_shared<int>();  // [32]
  int* const bins = shared + 32;              // [256]
  int* const found = bins + 256;              // cut, how many at the cut are taken
  const int thread = static_cast<int>(threadIdx.x), step = static_cast<int>(blockDim.x);
  int plausible = 0, silent = 0;
  for (int first = 0; first < devices; first += step) {
    const int k = first + thread;
    int now = 0;
    count_before(k < devices && posterior[k] > threshold, shared, now);
    plausible += now;
    count_before(k < devices && quiet[k], shared, now);
    silent += now;
  }
  unsigned cut = 0;
  int wanted = capacity;  // at the cut
  if (plausible > capacity) {
    for (int shift = 24; shift >= 0; shift -= 8) {
      for (int i = thread; i < 256; i += step) bins[i] = 0;
      __syncthreads();
      for (int k = thread; k < devices; k += step) {
        const unsigned value = key(llr[k]);
        if (posterior[k] > threshold && static_cast<std::uint64_t>(value ^ cut) >> (shift + 8) == 0)
          atomicAdd(bins + (value >> shift & 255u), 1);
      }
      __syncthreads();
      if (thread == 0) {
        int bin = 255, above = 0;
        while (above + bins[bin] < wanted) above += bins[bin--];
        found[0] = bin;
        found[1] = wanted - above;
      }
      __syncthreads();
      cut |= static_cast<unsigned>(found[0]) << shift;
      wanted = found[1];
      __syncthreads();
    }
  }
  int above = 0, equal = 0;  // before this round
  for (int first = 0; first < devices; first += step) {
    const int k = first + thread;
    const bool candidate = k < devices && posterior[k] > threshold;
    const bool tie = candidate && plausible > capacity && key(llr[k]) == cut;
    const bool sure = candidate && (plausible <= capacity || key(llr[k]) > cut);
    int sure_total = 0, tie_total = 0;
    const int sure_before = above + count_before(sure, shared, sure_total);
    const int tie_before = equal + count_before(tie, shared, tie_total);
    if (sure || (tie && tie_before < wanted)) {
      const int at = sure_before + min(tie_before, wanted);
      device[at] = k;
      chosen[at] = posterior[k];
    }
    above += sure_total;
    equal += tie_total;
  }
  const int count = min(plausible, capacity);
  for (int i = count + thread; i < capacity; i += step) {
    device[i] = -1;
    chosen[i] = 0.0f;
  }
  if (thread > 0) return;
  counts[0] = count;
  counts[1] = plausible - count;
  counts[2] = silent;
}

}  // namespace

void activity_table(const float* energy, const unsigned char* quiet, const std::int32_t* quiet_count, const float* v,
                    const float* multiplicity, const float* eigenvalue, const float* product, int devices, int antennas,
                    int groups, int products, float* null, float* slope, float* offset, void* stream) {
  launch("activity_table", table_kernel, static_cast<unsigned>(antennas), kThreads,
         sizeof(float) * static_cast<std::size_t>(kThreads + groups), stream, energy, quiet, quiet_count, v,
         multiplicity, eigenvalue, product, devices, antennas, groups, products, null, slope, offset);
}

void activity(const float* energy, const float* slope, const float* offset, const float* weight,
              const float* log_power_weight, const std::int32_t* index, float log_odds, int devices, int antennas,
              int groups, int products, int gains, int powers, float* llr, float* posterior, unsigned char* quiet,
              void* stream) {
  if (products > ActivityView::kMostProducts || powers > ActivityView::kMostPowers)
    throw std::runtime_error("activity: too many components");
  const int quads = (products + 3) / 4;
  launch("activity", activity_kernel, blocks(devices, kSide), kThreads,
         sizeof(float) * kThreads * static_cast<std::size_t>(4 * quads + powers), stream, energy,
         reinterpret_cast<const float4*>(slope), reinterpret_cast<const float4*>(offset), weight, log_power_weight,
         index, log_odds, devices, antennas, groups, quads, gains, powers, llr, posterior, quiet);
}

void select_candidates(const float* llr, const float* posterior, const unsigned char* quiet, float threshold,
                       int devices, int capacity, std::int32_t* device, float* chosen, std::int32_t* counts,
                       void* stream) {
  launch("select_candidates", select_kernel, 1, kSelectThreads, sizeof(int) * (32 + 256 + 2), stream, llr, posterior,
         quiet, threshold, devices, capacity, device, chosen, counts);
}

}  // namespace jadce::cuda

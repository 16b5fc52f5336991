#include <algorithm>

#include "core/block_cuda.hpp"
#include "core/graph_cuda.hpp"
#include "kernels/activity/activity.hpp"
#include "kernels/activity/activity_cuda.hpp"
#include "kernels/batch_cuda.hpp"
#include "loop/loop.hpp"

namespace jadce::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kSide = 8;                  // devices of a block: 32 bytes of energies
constexpr int kSlots = kThreads / kSide;  // beams that it works on at a time
constexpr int kSelectThreads = 512;
constexpr int kMostRows = 160;  // of kThreads numbers in shared memory
constexpr float kNever = 3e38f;
static_assert(ActivityView::kMostPowers <= kSlots &&
              ActivityView::kMostProducts + ActivityView::kMostPowers < kMostRows);

// Energies of devices [P, M, K]; those of `merge` neighbouring coefficients are one group's.
struct Energies {
  const float* energy;
  int devices, antennas, coefficients, merge;

  __device__ Energies of_batch() const {
    Energies mine = *this;
    mine.energy += batch() * coefficients * antennas * devices;
    return mine;
  }
  __device__ float of(int group, int beam, int k) const {
    const int first = group * merge, last = min(first + merge, coefficients);
    float total = 0.0f;
    for (int p = first; p < last; ++p) total += energy[(static_cast<std::int64_t>(p) * antennas + beam) * devices + k];
    return total;
  }
};

// One block: one beam. Levels [groups] and sums of logarithms [kThreads] go to shared memory.
__global__ void __launch_bounds__(kThreads, 4)
    table_kernel(const std::int32_t* go, const __grid_constant__ Energies all, const float* sums,
                 const unsigned char* quiet, const std::int32_t* quiet_count, const float* v,
                 const float* __restrict__ multiplicity, const float* __restrict__ eigenvalue,
                 const float* __restrict__ product, int groups, int products, const __grid_constant__ Rules rules,
                 float* __restrict__ null, float* __restrict__ slope, float* __restrict__ offset) {
  after_previous();
  if (!goes(go)) return;
  float* const level = dynamic_shared<float>();
  float* const logarithm = level + groups;
  const Energies from = all.of_batch();
  const int thread = static_cast<int>(threadIdx.x), beam = static_cast<int>(blockIdx.x), antennas = from.antennas;
  const int count = quiet_count ? quiet_count[batch() * kControlWords] : 0, padded = (products + 3) / 4 * 4;
  const bool enough = count > rules.enough_idle;
  quiet += batch() * from.devices;
  v += batch() * antennas;
  null += batch() * groups * antennas;
  slope += batch() * antennas * padded * groups;
  offset += batch() * antennas * padded;
  const auto write_level = [&](int g, float total) {
    level[g] = null[g * antennas + beam] =
        enough ? believed_null(rules, total / (multiplicity[g] * static_cast<float>(count)), v[beam]) : v[beam];
  };
  if (sums) {
    sums += batch() * from.coefficients * antennas;
    for (int g = thread; g < groups; g += kThreads) {
      float total = 0.0f;
      for (int p = g * from.merge; p < min((g + 1) * from.merge, from.coefficients); ++p)
        total += sums[p * antennas + beam];
      if (quiet_count)
        write_level(g, total);
      else
        level[g] = null[g * antennas + beam] = total;
    }
  } else {
    for (int g = thread / 32; g < groups; g += kThreads / 32) {  // warps take groups
      float total = 0.0f;
      for (int k = thread % 32; enough && k < from.devices; k += 32)
        if (quiet[k]) total += from.of(g, beam, k);
      for (int other = 16; other > 0; other /= 2) total += __shfl_xor_sync(~0u, total, other);
      if (thread % 32 == 0) write_level(g, total);
    }
  }
  __syncthreads();
  // Products times parts of the groups.
  const int parts = kThreads / padded, u = thread % padded, part = thread / padded;
  float total = 0.0f;
  for (int g = part; part < parts && g < groups; g += parts) {
    const float inverse = 1.0f / level[g], ratio = u < products ? 1.0f + product[u] * eigenvalue[g] * inverse : 1.0f;
    slope[((beam * padded + u) / 4 * groups + g) * 4 + u % 4] = inverse * (1.0f - 1.0f / ratio);
    total += multiplicity[g] * logf(ratio);
  }
  logarithm[thread] = total;
  __syncthreads();
  if (part > 0) return;
  for (int other = 1; other < parts; ++other) total += logarithm[other * padded + u];
  offset[beam * padded + u] = u < products ? total : kNever;
}

// One block: kSide devices; threads take beams. Exponents of a beam stay in shared memory [U', kThreads], sums over
// beams in [J, kThreads], energies of the first `held` groups in [held, kThreads].
__global__ void __launch_bounds__(kThreads, 4)
    activity_kernel(const std::int32_t* go, const __grid_constant__ Energies all, const float4* slope,
                    const float4* offset, const float* __restrict__ weight, const float* __restrict__ log_power_weight,
                    const std::int32_t* __restrict__ index, float log_odds, float idle, int groups, int quads,
                    int gains, int powers, int held, float* __restrict__ llr, float* __restrict__ posterior,
                    unsigned char* __restrict__ quiet) {
  after_previous();
  if (!goes(go)) return;
  const Energies from = all.of_batch();
  const int devices = from.devices, antennas = from.antennas;
  slope += batch() * antennas * quads * groups;
  offset += batch() * antennas * quads;
  llr += batch() * devices;
  posterior += batch() * devices;
  quiet += batch() * devices;
  const int thread = static_cast<int>(threadIdx.x), side = thread % kSide, slot = thread / kSide;
  const int k = static_cast<int>(blockIdx.x) * kSide + side;
  float* const f = dynamic_shared<float>() + thread;
  float* const sum = f + 4 * quads * kThreads;
  float* const own = sum + powers * kThreads;
  for (int j = 0; j < powers; ++j) sum[j * kThreads] = 0.0f;
  for (int beam = slot; beam < antennas && k < devices; beam += kSlots) {
    float top = -kNever;
    for (int g = 0; g < held; ++g) own[g * kThreads] = from.of(g, beam, k);
    for (int u = 0; u < quads; ++u) {
      const float4 o = offset[beam * quads + u];
      float4 total = make_float4(-o.x, -o.y, -o.z, -o.w);
      for (int g = 0; g < groups; ++g) {
        const float e = g < held ? own[g * kThreads] : from.of(g, beam, k);
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
  float* const sums = sum - thread;
  if (slot < powers) {
    float total = log_power_weight[slot];
    for (int i = 0; i < kSlots; ++i) total += sums[slot * kThreads + i * kSide + side];
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
  quiet[k] = value < idle;
}

// Rises with x.
__device__ unsigned key(float x) {
  const unsigned bits = __float_as_uint(x);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// Sum over the block's threads, whole warps, of what is not negative; `part` holds 32 numbers.
__device__ int total_of(int value, int* part) {
  const int warps = static_cast<int>(blockDim.x) / 32;
  const auto sum = static_cast<int>(__reduce_add_sync(~0u, static_cast<unsigned>(value)));
  __syncthreads();
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
  __syncthreads();
  int total = 0;
  for (int w = 0; w < warps; ++w) total += part[w];
  return total;
}

// The candidates of one block: those above the threshold, or the most probable ones if there are too many. The least
// key that is taken is found byte by byte.
__device__ void select(const float* llr, const float* posterior, const unsigned char* quiet, float threshold,
                       float certain, int devices, int capacity, int* shared, std::int32_t* device, float* chosen,
                       Control& c) {
  int* const bins = shared + 32;   // [256]
  int* const found = bins + 256;   // cut, how many at the cut are taken
  int* const changed = found + 2;  // the candidates are others than before, or one is not certain
  const int thread = static_cast<int>(threadIdx.x), step = static_cast<int>(blockDim.x);
  int plausible = 0, silent = 0;
  for (int k = thread; k < devices; k += step) {
    plausible += posterior[k] > threshold;
    silent += quiet[k];
  }
  plausible = total_of(plausible, shared);
  silent = total_of(silent, shared);
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
  const int count = min(plausible, capacity);
  if (thread == 0) *changed = c.candidates != count;
  __syncthreads();
  int above = 0, equal = 0;  // before this round
  for (int first = 0; first < devices; first += step) {
    const int k = first + thread;
    const bool candidate = k < devices && posterior[k] > threshold;
    const bool tie = candidate && plausible > capacity && key(llr[k]) == cut;
    const bool sure = candidate && (plausible <= capacity || key(llr[k]) > cut);
    int sure_total = 0, tie_total = 0, tie_before = equal;
    const int sure_before = above + count_before(sure, shared, sure_total);
    if (plausible > capacity) tie_before += count_before(tie, shared, tie_total);
    if (sure || (tie && tie_before < wanted)) {
      const int at = sure_before + min(tie_before, wanted);
      if (device[at] != k || !(posterior[k] > certain)) atomicMax(changed, 1);
      device[at] = k;
      chosen[at] = posterior[k];
    }
    above += sure_total;
    equal += tie_total;
  }
  for (int i = count + thread; i < capacity; i += step) {
    device[i] = -1;
    chosen[i] = 0.0f;
  }
  __syncthreads();
  if (thread == 0) {
    c.settled = !*changed;
    c.candidates = count;
    c.left_out = plausible - count;
    c.quiet = silent;
  }
}

// Places of the candidates in the support: new ones take the first free slots.
__device__ void assign(const std::int32_t* device, int slots, int* shared, std::int32_t* free, std::int32_t* slot,
                       std::int32_t* support, std::int32_t* place, Control& c) {
  int* const last = shared + 32;
  const int thread = static_cast<int>(threadIdx.x), step = static_cast<int>(blockDim.x), count = c.candidates;
  int vacant = 0;
  if (thread == 0) *last = 0;
  for (int first = 0; first < slots; first += step) {
    const int i = first + thread;
    const bool empty = i < slots && support[i] < 0;
    int now = 0;
    const int before = vacant + count_before(empty, shared, now);
    if (empty) free[before] = i;
    if (i < slots) place[i] = -1;
    if (i < slots && !empty) atomicMax(last, i + 1);
    vacant += now;
  }
  __syncthreads();
  int come = 0;
  for (int first = 0; first < count; first += step) {
    const int a = first + thread;
    const int k = a < count ? device[a] : -1;
    int at = k >= 0 ? slot[k] : 0, now = 0;
    const bool comes = at < 0;
    const int before = come + count_before(comes, shared, now);
    if (comes && before < vacant) {
      at = free[before];
      slot[k] = at;
      support[at] = k;
      atomicMax(last, at + 1);
    }
    if (k >= 0 && at >= 0) place[at] = a;
    come += now;
  }
  __syncthreads();
  if (thread == 0) {
    c.slots = *last;
    c.unplaced = come > vacant ? come - vacant : 0;
  }
}

// One block: one received block.
__global__ void __launch_bounds__(kSelectThreads)
    select_kernel(Control* controls, const float* llr, const float* posterior, const unsigned char* quiet,
                  float threshold, float certain, int devices, int capacity, int slots, std::int32_t* device,
                  float* chosen, std::int32_t* free, std::int32_t* slot, std::int32_t* support, std::int32_t* place,
                  std::int32_t* remaining, std::uint64_t loop) {
  after_previous();
  int* const shared = dynamic_shared<int>();  // [32] for sums, then select()'s
  Control& c = controls[batch()];
  if (!c.going) return;
  const bool run = c.run, screen = c.screen;
  __syncthreads();  // read by all before one changes it
  device += batch() * capacity;
  if (screen)
    select(llr + batch() * devices, posterior + batch() * devices, quiet + batch() * devices, threshold, certain,
           devices, capacity, shared, device, chosen + batch() * capacity, c);
  __syncthreads();
  if (run)
    assign(device, slots, shared, free + batch() * slots, slot + batch() * devices, support + batch() * slots,
           place + batch() * slots, c);
  if (threadIdx.x > 0) return;
  if (!ended(c)) return;
  // The last block to end, and it alone, ends the loop.
  if (atomicAdd(remaining, -1) == 1 && loop != kNoLoop) end_loop(loop);
}

}  // namespace

void activity_table(const float* energy, const float* sums, const unsigned char* quiet, const std::int32_t* quiet_count,
                    const float* v, const float* multiplicity, const float* eigenvalue, const float* product,
                    const std::int32_t* go, int devices, int antennas, int coefficients, int merge, int products,
                    const Rules& rules, int batch, float* null, float* slope, float* offset, void* stream) {
  if (products > ActivityView::kMostProducts) throw std::runtime_error("activity_table: too many components");
  const int groups = (coefficients + merge - 1) / merge;
  launch("activity_table", table_kernel, dim3(static_cast<unsigned>(antennas), 1, static_cast<unsigned>(batch)),
         kThreads, sizeof(float) * (static_cast<std::size_t>(groups) + kThreads), stream, go,
         Energies{energy, devices, antennas, coefficients, merge}, sums, quiet, quiet_count, v, multiplicity,
         eigenvalue, product, groups, products, rules, null, slope, offset);
}

void activity(const float* energy, const float* slope, const float* offset, const float* weight,
              const float* log_power_weight, const std::int32_t* index, const std::int32_t* go, float log_odds,
              const Rules& rules, int devices, int antennas, int coefficients, int merge, int products, int gains,
              int powers, int batch, float* llr, float* posterior, unsigned char* quiet, void* stream) {
  if (products > ActivityView::kMostProducts || powers > ActivityView::kMostPowers)
    throw std::runtime_error("activity: too many components");
  const int quads = (products + 3) / 4, groups = (coefficients + merge - 1) / merge;
  const int held = std::min(groups, kMostRows - 4 * quads - powers);
  launch("activity", activity_kernel, dim3(blocks(devices, kSide), 1, static_cast<unsigned>(batch)), kThreads,
         sizeof(float) * kThreads * static_cast<std::size_t>(4 * quads + powers + held), stream, go,
         Energies{energy, devices, antennas, coefficients, merge}, reinterpret_cast<const float4*>(slope),
         reinterpret_cast<const float4*>(offset), weight, log_power_weight, index, log_odds, rules.idle, groups, quads,
         gains, powers, held, llr, posterior, quiet);
}

void select_candidates(Control* control, const float* llr, const float* posterior, const unsigned char* quiet,
                       const Rules& rules, int devices, int capacity, int slots, int batch, std::int32_t* device,
                       float* chosen, std::int32_t* free, std::int32_t* slot, std::int32_t* support,
                       std::int32_t* place, std::int32_t* remaining, std::uint64_t loop, void* stream) {
  launch("select_candidates", select_kernel, dim3(1, 1, static_cast<unsigned>(batch)), kSelectThreads,
         sizeof(int) * (32 + 256 + 3), stream, control, llr, posterior, quiet, rules.candidate_above(),
         rules.certain_above(), devices, capacity, slots, device, chosen, free, slot, support, place, remaining, loop);
}

}  // namespace jadce::cuda

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>

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
constexpr int kSelectThreads = 512;  // so many words in shared memory: 32 + 256 + 3 in a selection, one each in a sum
constexpr int kMostRows = 160;       // rows of kThreads numbers in shared memory
constexpr int kGroups = 6;           // energies that a thread loads at a time
constexpr float kNever = 3e38f;
static_assert(ActivityView::kMostPowers <= kSlots &&
              ActivityView::kMostProducts + ActivityView::kMostPowers < kMostRows);

__device__ float energy_at(const Energies& from, int row, int beam, int k) {
  return from.energy[(static_cast<std::int64_t>(row) * from.antennas + beam) * from.devices + k];
}

// Energy of a device's group.
__device__ float energy_of(const Energies& from, int group, int beam, int k) {
  const int first = group * from.merge, last = min(first + from.merge, from.rows);
  float total = 0.0f;
  for (int p = first; p < last; ++p) total += energy_at(from, p, beam, k);
  return total;
}

__device__ Energies of_batch(Energies from) {
  from.energy += batch() * from.rows * from.antennas * from.devices;
  return from;
}

// One block: one beam. Levels [groups] and sums of logarithms [kThreads] go to shared memory.
__global__ void __launch_bounds__(kThreads, 4)
    table_kernel(const __grid_constant__ ActivityTableArgs args, const float* __restrict__ multiplicity,
                 const float* __restrict__ eigenvalue, const float* __restrict__ product) {
  after_previous();
  if (!has_work(args.enabled)) return;
  const Energies from = of_batch(args.energies);
  const int thread = static_cast<int>(threadIdx.x), beam = static_cast<int>(blockIdx.x), antennas = from.antennas;
  const int groups = from.groups(), products = static_cast<int>(args.mixture.products);
  const int count = args.idle_count ? args.idle_count[batch() * kControlWords] : 0, padded = (products + 3) / 4 * 4;
  const bool enough = count > args.rules.enough_idle;
  float* const level = dynamic_shared<float>();
  float* const logarithm = level + groups;
  const std::uint8_t* const idle = args.idle + batch() * from.devices;
  const float* const v = args.v + batch() * antennas;
  float* __restrict__ null = args.null + batch() * groups * antennas;
  float* __restrict__ slope = args.slope + batch() * antennas * padded * groups;
  float* __restrict__ offset = args.offset + batch() * antennas * padded;
  const auto write_level = [&](int g, float total) {
    level[g] = null[g * antennas + beam] =
        enough ? believed_null(args.rules, total / (multiplicity[g] * static_cast<float>(count)), v[beam]) : v[beam];
  };
  if (args.sums) {
    const float* const sums = args.sums + batch() * from.rows * antennas;
    for (int g = thread; g < groups; g += kThreads) {
      float total = 0.0f;
      for (int p = g * from.merge; p < min((g + 1) * from.merge, from.rows); ++p) total += sums[p * antennas + beam];
      if (args.idle_count)
        write_level(g, total);
      else
        level[g] = null[g * antennas + beam] = total;
    }
  } else {
    for (int g = thread / 32; g < groups; g += kThreads / 32) {  // warps take groups
      float total = 0.0f;
      for (int k = thread % 32; enough && k < from.devices; k += 32)
        if (idle[k]) total += energy_of(from, g, beam, k);
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

// The host's decisions about the test.
struct ActivityPlan {
  int held;    // groups whose energies stay in shared memory
  int copied;  // numbers of the slopes in shared memory, all or none
};

// One block: kSide devices; threads take beams. In shared memory: slopes if they are copied, exponents of a beam
// [U', kThreads], sums over beams [J, kThreads], energies [held, kThreads], weights [G] and indices [J, G].
__global__ void __launch_bounds__(kThreads, 4)
    activity_kernel(const __grid_constant__ ActivityArgs args, const float* __restrict__ weight,
                    const float* __restrict__ log_power_weight, const std::int32_t* __restrict__ index,
                    const __grid_constant__ ActivityPlan plan) {
  const int gains = static_cast<int>(args.mixture.gains), powers = static_cast<int>(args.mixture.powers);
  const int held = plan.held;
  const int quads = (static_cast<int>(args.mixture.products) + 3) / 4;
  float4* const copy = dynamic_shared<float4>();
  float* const rows = reinterpret_cast<float*>(copy + plan.copied);
  float* const weights = rows + (4 * quads + powers + held) * kThreads;
  std::int32_t* const indices = reinterpret_cast<std::int32_t*>(weights + gains);
  copy_together(weight, gains, weights);
  copy_together(index, powers * gains, indices);
  after_previous();
  if (!has_work(args.enabled)) return;
  const Energies from = of_batch(args.energies);
  const int devices = from.devices, antennas = from.antennas, groups = from.groups();
  const float least = args.control ? least_power(args.control[batch()], args.rules) : 0.0f;
  const float4* slope = reinterpret_cast<const float4*>(args.slope) + batch() * antennas * quads * groups;
  const float4* const offset = reinterpret_cast<const float4*>(args.offset) + batch() * antennas * quads;
  const int thread = static_cast<int>(threadIdx.x), side = thread % kSide, slot = thread / kSide;
  const int k = static_cast<int>(blockIdx.x) * kSide + side;
  copy_together(slope, plan.copied, copy);
  if (plan.copied) slope = copy;
  __syncthreads();
  float* const f = rows + thread;
  float* const sum = f + 4 * quads * kThreads;
  float* const own = sum + powers * kThreads;
  for (int j = 0; j < powers; ++j) sum[j * kThreads] = 0.0f;
  for (int beam = slot; beam < antennas && k < devices; beam += kSlots) {
    float top = -kNever;
    if (from.merge == 1) {  // loads that do not wait for one another
      for (int first = 0; first < held; first += kGroups) {
        float e[kGroups];
#pragma unroll
        for (int j = 0; j < kGroups; ++j) e[j] = first + j < held ? energy_at(from, first + j, beam, k) : 0.0f;
#pragma unroll
        for (int j = 0; j < kGroups; ++j)
          if (first + j < held) own[(first + j) * kThreads] = e[j];
      }
    } else {
      for (int g = 0; g < held; ++g) own[g * kThreads] = energy_of(from, g, beam, k);
    }
    for (int u = 0; u < quads; ++u) {
      const float4 o = offset[beam * quads + u];
      float4 total = make_float4(-o.x, -o.y, -o.z, -o.w);
      for (int g = 0; g < groups; ++g) {
        const float e = g < held ? own[g * kThreads] : energy_of(from, g, beam, k);
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
      for (int i = 0; i < gains; ++i) mixed += weights[i] * f[indices[j * gains + i] * kThreads];
      sum[j * kThreads] += top + logf(fmaxf(mixed, 1.17549435e-38f));
    }
  }
  __syncthreads();
  float* const sums = sum - thread;
  if (slot < powers) {
    float total = args.mixture.searched(slot, least) ? log_power_weight[slot] : kNoWeight;
    for (int i = 0; i < kSlots; ++i) total += sums[slot * kThreads + i * kSide + side];
    f[0] = total;
  }
  __syncthreads();
  if (slot > 0 || k >= devices) return;
  float best = -kNever, total = 0.0f;
  for (int j = 0; j < powers; ++j) best = fmaxf(best, f[j * kSide]);
  for (int j = 0; j < powers; ++j) total += expf(f[j * kSide] - best);
  const float odds = args.control ? prior_log_odds(args.control[batch()], args.rules, args.log_odds,
                                                   args.mixture.power[powers - 1], devices)
                                  : args.log_odds;
  const float value = best + logf(total) + odds;
  args.llr[batch() * devices + k] = value;
  args.posterior[batch() * devices + k] = sigmoid(value);
  args.idle[batch() * devices + k] = value < args.rules.idle;
}

// Rises with x.
__device__ unsigned key(float x) {
  const unsigned bits = __float_as_uint(x);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// The candidates of one block: those above the threshold, or the most probable ones if there are too many. The least
// key that is taken is found byte by byte.
__device__ void select(const SelectCandidatesArgs& args, int* shared, Control& c) {
  const int devices = args.devices, capacity = args.capacity;
  const float threshold = args.rules.candidate_above(), certain = args.rules.certain_above();
  const float* const llr = args.llr + batch() * devices;
  const float* const posterior = args.posterior + batch() * devices;
  const std::uint8_t* const idle = args.idle + batch() * devices;
  std::int32_t* const device = args.device + batch() * capacity;
  float* const chosen = args.chosen + batch() * capacity;
  int* const bins = shared + 32;   // [256]
  int* const found = bins + 256;   // cut, how many at the cut are taken
  int* const changed = found + 2;  // the candidates are others than before,
  int* const unsure = found + 3;   // and one of them is not certain
  const int thread = static_cast<int>(threadIdx.x), step = static_cast<int>(blockDim.x);
  int plausible = 0, silent = 0, faint = 0, doubtful = 0;
  for (int k = thread; k < devices; k += step) {
    plausible += posterior[k] > threshold;
    silent += idle[k];
    faint += is_faint(args.rules, llr[k]);
    doubtful += is_doubtful(args.rules, llr[k]);
  }
  int before = 0;
  plausible = total_of(plausible, shared, before);
  silent = total_of(silent, shared, before);
  faint = total_of(faint, shared, before);
  doubtful = total_of(doubtful, shared, before);
  unsigned cut = 0;
  int wanted = capacity;  // candidates still to be taken at the cut
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
  if (thread == 0) {
    *changed = c.candidates != count;
    *unsure = 0;
  }
  __syncthreads();
  int above = 0, equal = 0;  // counts before this round
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
      if (device[at] != k) atomicMax(changed, 1);
      if (!(posterior[k] > certain)) atomicMax(unsure, 1);
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
    c.candidates = count;
    c.left_out = plausible - count;
    c.settled = settled(c, *changed == 0, *unsure == 0, doubtful);
    c.sought = least_power(c, args.rules);  // as the test did
    c.idle = silent;
    c.faint = faint;
  }
  float expected = 0.0f;
  for (int i = thread; i < count; i += step) expected += chosen[i];
  expected = block_sum(expected, reinterpret_cast<float*>(shared));
  if (thread > 0) return;
  c.expected = expected;
  if (args.learn_rate) learn_rate(c, args.log_odds, devices);
}

// Places of the candidates in the support: new ones take the first free slots.
__device__ void assign(const SelectCandidatesArgs& args, int* shared, Control& c) {
  const int slots = args.slots;
  const std::int32_t* const device = args.device + batch() * args.capacity;
  std::int32_t* const free = args.free + batch() * slots;
  std::int32_t* const slot = args.slot + batch() * args.devices;
  std::int32_t* const support = args.support + batch() * slots;
  std::int32_t* const place = args.place + batch() * slots;
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
__global__ void __launch_bounds__(kSelectThreads) select_kernel(const __grid_constant__ SelectCandidatesArgs args) {
  after_previous();
  int* const shared = dynamic_shared<int>();  // [32] for sums, then select()'s
  Control& c = args.control[batch()];
  if (!c.going) return;
  const bool run = c.run, test = c.test;
  __syncthreads();  // read by all before one changes it
  if (test) select(args, shared, c);
  __syncthreads();
  if (run) assign(args, shared, c);
  if (threadIdx.x > 0) return;
  if (!ended(c)) return;
  // The last block to end, and it alone, ends the loop.
  if (atomicAdd(args.remaining, -1) == 1 && args.loop != kNoLoop) end_loop(args.loop);
}

}  // namespace

void activity_table(const ActivityTableArgs& args, void* stream) {
  if (args.mixture.products > ActivityView::kMostProducts)
    throw std::runtime_error("activity_table: too many components");
  launch("activity_table", table_kernel,
         dim3(static_cast<unsigned>(args.energies.antennas), 1, static_cast<unsigned>(args.energies.batch)), kThreads,
         sizeof(float) * (static_cast<std::size_t>(args.energies.groups()) + kThreads), stream, args,
         args.mixture.multiplicity, args.mixture.eigenvalue, args.mixture.product);
}

void activity(const ActivityArgs& args, void* stream) {
  const auto products = static_cast<int>(args.mixture.products), powers = static_cast<int>(args.mixture.powers);
  if (products > ActivityView::kMostProducts || powers > ActivityView::kMostPowers)
    throw std::runtime_error("activity: too many components");
  const int quads = (products + 3) / 4, groups = args.energies.groups();
  const int held = std::min(groups, kMostRows - 4 * quads - powers), slopes = args.energies.antennas * quads * groups;
  const dim3 grid(blocks(args.energies.devices, kSide), 1, static_cast<unsigned>(args.energies.batch));
  const std::size_t least =
      sizeof(float) * (static_cast<std::size_t>(kThreads) * static_cast<std::size_t>(4 * quads + powers + held) +
                       static_cast<std::size_t>((1 + powers) * args.mixture.gains));
  // Slopes are copied where that leaves room for as many thread blocks of a multiprocessor as there are, or four.
  const std::size_t all = least + sizeof(float4) * static_cast<std::size_t>(slopes);
  const unsigned together = std::min(4u, blocks(std::int64_t{grid.x} * grid.z, kProcessors));
  const bool copied = all <= std::min(kSharedAnywhere, kMostShared / together - 1024);
  launch("activity", activity_kernel, grid, kThreads, copied ? all : least, stream, args, args.mixture.weight,
         args.mixture.log_power_weight, args.mixture.index, ActivityPlan{held, copied ? slopes : 0});
}

void select_candidates(const SelectCandidatesArgs& args, void* stream) {
  launch("select_candidates", select_kernel, dim3(1, 1, static_cast<unsigned>(args.batch)), kSelectThreads,
         sizeof(int) * kSelectThreads, stream, args);
}

}  // namespace jadce::cuda

#include "kernels/activity/activity.hpp"

#include "kernels/families.hpp"

namespace jadce::JADCE_ISA {

namespace {

void null_energy(NullEnergyArgs args, index_t task) {
  const Shape& s = args.transform.shape;
  const index_t blocks = s.lanes / W, group = task / blocks, b = task % blocks * W;
  const float* in = args.energy + task * s.devices * W;
  vec total{};
  for (index_t k = 0; k < s.devices; ++k)
    if (args.idle[k]) total += load(in + k * W);
  store(args.null + group * s.lanes + b, total / (args.multiplicity[group] * static_cast<float>(args.count)));
}

void activity_table(ActivityTableArgs args, index_t block) {
  const Shape& s = args.shape;
  const ActivityView& v = args.mixture;
  const index_t groups = args.groups;
  for (index_t u = 0; u < v.products; ++u) {
    vec total{};
    for (index_t g = 0; g < groups; ++g) {
      const vec inverse = 1.0f / load(args.null + g * s.lanes + block * W);
      const vec ratio = 1.0f + v.product[u] * v.eigenvalue[g] * inverse;
      store(args.slope + ((block * v.products + u) * groups + g) * W, inverse * (1.0f - 1.0f / ratio));
      total += v.multiplicity[g] * log(ratio);
    }
    // Lanes beyond the antennas carry no energy; their ratio must be one.
    for (int i = 0; i < W; ++i)
      if (block * W + i >= s.antennas) total[i] = 0.0f;
    store(args.offset + (block * v.products + u) * W, total);
  }
}

void activity(ActivityArgs args, index_t task) {
  const Shape& s = args.shape;
  const ActivityView& v = args.mixture;
  const index_t blocks = s.lanes / W, groups = args.groups, first = task * kActivityChunk;
  const index_t last = first + kActivityChunk < s.devices ? first + kActivityChunk : s.devices;
  for (index_t k = first; k < last; ++k) {
    vec beams[ActivityView::kMostPowers] = {};
    for (index_t block = 0; block < blocks; ++block) {
      vec f[ActivityView::kMostProducts], top = splat(-3e38f);
      const float* e = args.energy + (block * s.devices + k) * W;
      for (index_t u = 0; u < v.products; ++u) {
        const float* c = args.slope + (block * v.products + u) * groups * W;
        vec total = -load(args.offset + (block * v.products + u) * W);
        for (index_t g = 0; g < groups; ++g) total += load(c + g * W) * load(e + g * blocks * s.devices * W);
        f[u] = total;
        top = max(top, total);
      }
      for (index_t u = 0; u < v.products; ++u) f[u] = exp(f[u] - top);
      for (index_t j = 0; j < v.powers; ++j) {
        const std::int32_t* at = v.index + j * v.gains;
        vec mixed{};
        for (index_t i = 0; i < v.gains; ++i) mixed += v.weight[i] * f[at[i]];
        beams[j] += top + log(mixed);
      }
    }
    float each[ActivityView::kMostPowers], best = -3e38f;
    for (index_t j = 0; j < v.powers; ++j) {
      each[j] = sum(beams[j]) + (v.searched(j, v.least_power) ? v.log_power_weight[j] : kNoWeight);
      best = each[j] > best ? each[j] : best;
    }
    vec total{};
    for (index_t j = 0; j < v.powers; j += W)
      for (index_t i = j; i < j + W && i < v.powers; ++i) total[i - j] += exp(splat(each[i] - best))[0];
    args.llr[k] = best + log(splat(sum(total)))[0];
  }
}

}  // namespace

void fill_activity(KernelTable& table) {
  table.null_energy = null_energy;
  table.activity_table = activity_table;
  table.activity = activity;
}

}  // namespace jadce::JADCE_ISA

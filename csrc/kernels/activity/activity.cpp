#include "kernels/activity/activity.hpp"

#include "kernels/families.hpp"

namespace jadce::JADCE_ISA {

namespace {

// Sum over the lanes by halves: one lane after the other is as slow as two of the levels.
float together(vec x) {
  float half[W];
  store(half, x);
  for (int n = W / 2; n > 0; n /= 2)
    for (int i = 0; i < n; ++i) half[i] += half[i + n];
  return half[0];
}

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

// Log ratios of `D` devices from k on, W beams and each product from `first` on: f [U, D].
template <int D>
void ratios(const ActivityArgs& args, index_t block, index_t first, index_t k, vec* f) {
  constexpr int kProducts = 2;  // so many together, so that energies are loaded once for them
  const Shape& s = args.shape;
  const ActivityView& v = args.mixture;
  const index_t groups = args.groups, step = s.lanes / W * s.devices * W;
  const float* const energy = args.energy + (block * s.devices + k) * W;
  for (index_t u = first; u < v.products; u += kProducts) {
    const float* c[kProducts];
    vec total[kProducts][D];
    for (int i = 0; i < kProducts; ++i) {
      const index_t at = block * v.products + (u + i < v.products ? u + i : u);
      c[i] = args.slope + at * groups * W;
      for (int d = 0; d < D; ++d) total[i][d] = -load(args.offset + at * W);
    }
    const float* e = energy;
    for (index_t g = 0; g < groups; ++g, e += step)
      for (int i = 0; i < kProducts; ++i) {
        const vec slope = load(c[i] + g * W);
        for (int d = 0; d < D; ++d) total[i][d] += slope * load(e + d * W);
      }
    for (int i = 0; i < kProducts && u + i < v.products; ++i)
      for (int d = 0; d < D; ++d) f[(u + i) * D + d] = total[i][d];
  }
}

// Log-likelihood ratios of `D` devices from k on.
template <int D>
void likelihood(const ActivityArgs& args, index_t first, index_t k) {
  const ActivityView& v = args.mixture;
  const index_t blocks = args.shape.lanes / W;
  vec beams[D][ActivityView::kMostPowers] = {};
  for (index_t block = 0; block < blocks; ++block) {
    vec f[ActivityView::kMostProducts * D];
    ratios<D>(args, block, first, k, f);
    vec top[D];
    for (int d = 0; d < D; ++d) top[d] = splat(-3e38f);
    for (index_t u = first; u < v.products; ++u)
      for (int d = 0; d < D; ++d) top[d] = max(top[d], f[u * D + d]);
    for (index_t u = first; u < v.products; ++u)
      for (int d = 0; d < D; ++d) f[u * D + d] = exp(f[u * D + d] - top[d]);
    for (index_t j = 0; j < v.powers; ++j) {
      if (!v.searched(j, v.least_power)) continue;
      const std::int32_t* at = v.index + j * v.gains;
      vec mixed[D] = {};
      for (index_t i = 0; i < v.gains; ++i)
        for (int d = 0; d < D; ++d) mixed[d] += v.weight[i] * f[at[i] * D + d];
      for (int d = 0; d < D; ++d) beams[d][j] += top[d] + log(mixed[d]);
    }
  }
  for (int d = 0; d < D; ++d) {
    float each[ActivityView::kMostPowers], best = -3e38f;
    for (index_t j = 0; j < v.powers; ++j) {
      each[j] = v.searched(j, v.least_power) ? together(beams[d][j]) + v.log_power_weight[j] : kNoWeight;
      best = each[j] > best ? each[j] : best;
    }
    for (index_t j = v.powers; j < ActivityView::kMostPowers; ++j) each[j] = kNoWeight;
    vec all{};
    for (index_t j = 0; j < v.powers; j += W) all += exp(load(each + j) - best);
    args.llr[k + d] = best + log(splat(together(all)))[0];
  }
}

void activity(ActivityArgs args, index_t task) {
  const ActivityView& v = args.mixture;
  const index_t first = task * kActivityChunk, devices = args.shape.devices;
  const index_t last = first + kActivityChunk < devices ? first + kActivityChunk : devices;
  index_t k = first;
  index_t product = v.products;  // the least one that is needed
  for (index_t j = 0; j < v.powers; ++j)
    for (index_t i = 0; v.searched(j, v.least_power) && i < v.gains; ++i)
      product = v.index[j * v.gains + i] < product ? v.index[j * v.gains + i] : product;
  for (; k + 4 <= last; k += 4) likelihood<4>(args, product, k);
  for (; k < last; ++k) likelihood<1>(args, product, k);
}

}  // namespace

void fill_activity(KernelTable& table) {
  table.null_energy = null_energy;
  table.activity_table = activity_table;
  table.activity = activity;
}

}  // namespace jadce::JADCE_ISA

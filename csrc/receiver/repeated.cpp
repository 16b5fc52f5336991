#include "receiver/repeated.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "loop/loop.hpp"
#include "receiver/layout.hpp"

namespace jadce {

namespace {

constexpr index_t kFaded = 5;         // iterations after which the variance of all devices together says little
constexpr index_t kSteady = 3;        // iterations with the same devices after which their variances are made to fit
constexpr index_t kSettled = 6;       // and after which nothing more is expected
constexpr index_t kSampled = 64;      // devices that show the mean error
constexpr float kNegligible = 1e-4f;  // variance, in units of the eigenvalue, below which a device has none of its own

std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

}  // namespace

Repeated::Repeated(RepeatedPlan plan, int threads, const char* isa)
    : plan_(std::move(plan)), kernels_(table(isa)), pool_(threads) {
  const Shape& s = plan_.shape;
  const index_t symbols = s.symbols, size = s.coefficients * s.lanes;
  gram_.resize(at(symbols * symbols * 2));
  for (index_t k = 0; k < s.devices; ++k) {
    const double* q = plan_.pilots.data() + k * symbols * 2;
    for (index_t i = 0; i < symbols; ++i)
      for (index_t j = 0; j < symbols; ++j) {
        gram_[at((i * symbols + j) * 2)] += q[2 * i] * q[2 * j] + q[2 * i + 1] * q[2 * j + 1];
        gram_[at((i * symbols + j) * 2 + 1)] += q[2 * i + 1] * q[2 * j] - q[2 * i] * q[2 * j + 1];
      }
  }
  view_ = {s, plan_.pilots.data(), gram_.data(), plan_.activity.eigenvalue.data()};
  y_ = floats(s.coefficients * symbols * s.point());
  factor_.resize(at(size * view_.triangle()));
  solved_.resize(at(size * view_.column()));
  const index_t products = static_cast<index_t>(plan_.activity.product.size());
  for (int i = 0; i < threads; ++i) {
    column_.emplace_back(at(view_.column() * kernels_.width));
    scratch_.push_back({floats(kCavities * 2 * size), floats(kCavities * size), floats(size), floats(products * size),
                        floats(products * s.lanes)});
  }
  for (auto* values : {&llr_, &posterior_}) values->resize(at(s.devices));
  error_.resize(at(std::min(s.devices, kSampled)));
  place_.resize(at(s.devices));
  decided_.resize(at(s.devices));
  mean_ = floats(plan_.capacity * 2 * size);
  var_ = floats(plan_.capacity * size);
  target_ = floats(plan_.capacity * size);
}

void Repeated::detect(const cfloat* y, double noise, double received, index_t entries) {
  const Shape& s = plan_.shape;
  split(s, y, y_.get());
  control_ = begin(received, noise, 1.0, std::max(plan_.rate * static_cast<double>(s.devices), 1.0), entries, 1);
  background_ = static_cast<float>(plan_.rate);
  sharp_ = settled_ = false;
  raised_.clear();
  above_.clear();
  std::fill(place_.begin(), place_.end(), -1);
  std::fill(decided_.begin(), decided_.end(), static_cast<unsigned char>(0));
  history_.clear();
  index_t steady = 0;
  for (index_t i = 0; i < plan_.rules.max_iterations; ++i) {
    factor();
    test();
    select();
    bool same = true;
    for (index_t k = 0; k < s.devices; ++k) {
      const auto now = static_cast<unsigned char>(posterior_[at(k)] >= plan_.rules.active);
      same = same && now == decided_[at(k)];
      decided_[at(k)] = now;
    }
    steady = same ? steady + 1 : 0;
    if (!sharp_ && steady >= kSteady && i >= kFaded) {
      sharp_ = true;
      steady = 0;
    }
    settled_ = sharp_ && steady >= kSettled;
    posteriors();
    if (settled_) return;
    renew();
  }
}

void Repeated::factor() {
  const VariancesView variances{background_, static_cast<index_t>(raised_.size()), raised_.data(), above_.data()};
  pool_.each(plan_.shape.coefficients * plan_.shape.lanes / kernels_.width, [&](index_t task, int) {
    kernels_.repeated_factor({.view = view_,
                              .variances = variances,
                              .noise = static_cast<double>(control_.noise),
                              .y = y_.get(),
                              .factor = factor_.data(),
                              .solved = solved_.data()},
                             task);
  });
}

void Repeated::see(index_t first, index_t count, int thread) {
  const index_t size = plan_.shape.coefficients * plan_.shape.lanes;
  CavityArgs args{.view = view_,
                  .background = background_,
                  .above = {},
                  .factor = factor_.data(),
                  .solved = solved_.data(),
                  .scratch = column_[at(thread)].data(),
                  .z = scratch_[at(thread)].z.get(),
                  .v = scratch_[at(thread)].v.get()};
  for (index_t i = 0; i < count; ++i) {
    const std::int32_t place = place_[at(first + i)];
    args.above[i] = place < 0 ? nullptr : above_.data() + place * size;
  }
  kernels_.cavity(args, first, count);
}

// Log-likelihood ratios of all devices, each seen without itself.
void Repeated::test() {
  const Shape& s = plan_.shape;
  const index_t size = s.coefficients * s.lanes, blocks = s.lanes / kernels_.width;
  const index_t sampled = static_cast<index_t>(error_.size());
  Shape one = s;
  one.devices = 1;
  float whole = 0;
  for (float value : plan_.activity.eigenvalue) whole += value;
  const auto chunk = [](index_t first, index_t devices) { return std::min(kCavities, devices - first); };
  const auto chunks = [](index_t devices) { return (devices + kCavities - 1) / kCavities; };
  pool_.each(chunks(sampled), [&](index_t task, int thread) {
    const index_t first = task * kCavities, count = chunk(first, sampled);
    see(first, count, thread);
    for (index_t i = 0; i < count; ++i) {
      double total = 0;
      for (index_t b = 0; b < s.antennas; ++b) {
        float seen = 0;
        for (index_t p = 0; p < s.coefficients; ++p)
          seen += plan_.activity.eigenvalue[at(p)] / scratch_[at(thread)].v[at(i * size + p * s.lanes + b)];
        total += static_cast<double>(whole / seen);
      }
      error_[at(first + i)] = total / static_cast<double>(s.antennas);
    }
  });
  double error = 0;
  for (double value : error_) error += value;
  control_.error = static_cast<float>(error / static_cast<double>(sampled));
  ActivityView mixture = plan_.activity.view();
  mixture.least_power = least_ = least_power(control_, plan_.rules);
  const float prior = prior_log_odds(control_, plan_.rules, static_cast<float>(std::log(plan_.rate / (1 - plan_.rate))),
                                     plan_.activity.power.back(), s.devices);
  pool_.each(chunks(s.devices), [&](index_t task, int thread) {
    const index_t first = task * kCavities, count = chunk(first, s.devices);
    Scratch& x = scratch_[at(thread)];
    see(first, count, thread);
    for (index_t i = 0; i < count; ++i) {
      const index_t k = first + i;
      const float *const z = x.z.get() + i * 2 * size, *const v = x.v.get() + i * size;
      for (index_t j = 0; j < size; ++j) x.energy[at(j)] = z[j] * z[j] + z[size + j] * z[size + j];
      for (index_t block = 0; block < blocks; ++block)
        kernels_.activity_table({.shape = one,
                                 .groups = s.coefficients,
                                 .mixture = mixture,
                                 .null = v,
                                 .slope = x.slope.get(),
                                 .offset = x.offset.get()},
                                block);
      kernels_.activity({.shape = one,
                         .groups = s.coefficients,
                         .mixture = mixture,
                         .energy = x.energy.get(),
                         .slope = x.slope.get(),
                         .offset = x.offset.get(),
                         .llr = &llr_[at(k)]},
                        0);
      llr_[at(k)] += prior;
      posterior_[at(k)] = sigmoid(llr_[at(k)]);
    }
  });
}

void Repeated::select() {
  candidate_.clear();
  for (index_t k = 0; k < plan_.shape.devices; ++k)
    if (posterior_[at(k)] > plan_.rules.candidate_above()) candidate_.push_back(static_cast<std::int32_t>(k));
  const index_t plausible = static_cast<index_t>(candidate_.size());
  if (plausible > plan_.capacity) {  // the most probable ones stay; equal ones by index
    std::nth_element(
        candidate_.begin(), candidate_.begin() + plan_.capacity, candidate_.end(),
        [&](std::int32_t i, std::int32_t j) { return llr_[at(i)] != llr_[at(j)] ? llr_[at(i)] > llr_[at(j)] : i < j; });
    candidate_.resize(at(plan_.capacity));
    std::sort(candidate_.begin(), candidate_.end());
  }
  left_out_ = plausible - static_cast<index_t>(candidate_.size());
  double expected = 0;
  for (std::int32_t k : candidate_) expected += static_cast<double>(posterior_[at(k)]);
  control_.expected = static_cast<float>(expected);
  history_.push_back({static_cast<double>(control_.error), static_cast<index_t>(candidate_.size())});
}

// Posterior means and variances of the candidates, and the variances that could stand for them.
void Repeated::posteriors() {
  const Shape& s = plan_.shape;
  const index_t size = s.coefficients * s.lanes;
  const ActivityView mixture = plan_.activity.view();
  pool_.each(static_cast<index_t>(candidate_.size()), [&](index_t a, int thread) {
    const index_t k = candidate_[at(a)];
    Scratch& x = scratch_[at(thread)];
    see(k, 1, thread);
    // Log-likelihood ratio [U, M] of a product of power and beam gain. Double precision: their exponents matter.
    std::vector<double> ratio(at(mixture.products * s.antennas));
    const auto snr_of = [&](index_t u, index_t p, float v) {
      return static_cast<double>(mixture.product[u]) * static_cast<double>(mixture.eigenvalue[p]) /
             static_cast<double>(v);
    };
    for (index_t u = 0; u < mixture.products; ++u)
      for (index_t p = 0; p < s.coefficients; ++p)
        for (index_t b = 0; b < s.antennas; ++b) {
          const index_t i = p * s.lanes + b;
          const double snr = snr_of(u, p, x.v[at(i)]), re = static_cast<double>(x.z[at(i)]),
                       im = static_cast<double>(x.z[at(size + i)]);
          ratio[at(u * s.antennas + b)] +=
              (re * re + im * im) / static_cast<double>(x.v[at(i)]) * (snr / (1 + snr)) - std::log1p(snr);
        }
    std::vector<double> beam(at(mixture.powers * s.antennas)), share(at(mixture.powers));
    double best = -INFINITY, total = 0;
    for (index_t j = 0; j < mixture.powers; ++j) {
      share[at(j)] = static_cast<double>(mixture.searched(j, least_) ? mixture.log_power_weight[j] : kNoWeight);
      for (index_t b = 0; b < s.antennas; ++b) {
        const auto one = [&](index_t g) { return ratio[at(mixture.index[j * mixture.gains + g] * s.antennas + b)]; };
        double top = -INFINITY, sum = 0;
        for (index_t g = 0; g < mixture.gains; ++g) top = std::max(top, one(g));
        for (index_t g = 0; g < mixture.gains; ++g)
          sum += static_cast<double>(mixture.weight[g]) * std::exp(one(g) - top);
        beam[at(j * s.antennas + b)] = top + std::log(sum);
        share[at(j)] += beam[at(j * s.antennas + b)];
      }
      best = std::max(best, share[at(j)]);
    }
    for (double& value : share) total += value = std::exp(value - best);
    const float belief = posterior_[at(k)];
    std::vector<double> weight(at(mixture.products));
    for (index_t b = 0; b < s.antennas; ++b) {
      std::fill(weight.begin(), weight.end(), 0.0);
      for (index_t j = 0; j < mixture.powers; ++j)
        for (index_t g = 0; g < mixture.gains; ++g) {
          const index_t u = mixture.index[j * mixture.gains + g];
          weight[at(u)] += share[at(j)] / total * static_cast<double>(mixture.weight[g]) *
                           std::exp(ratio[at(u * s.antennas + b)] - beam[at(j * s.antennas + b)]);
        }
      double likely = 0;
      for (index_t u = 0; u < mixture.products; ++u) likely += weight[at(u)] * static_cast<double>(mixture.product[u]);
      for (index_t p = 0; p < s.coefficients; ++p) {
        const index_t i = p * s.lanes + b;
        const float v = x.v[at(i)], re = x.z[at(i)], im = x.z[at(size + i)];
        double gain = 0, rest = 0, spread = 0;  // rest: one less the gain, without cancellation
        for (index_t u = 0; u < mixture.products; ++u) {
          const double snr = snr_of(u, p, v);
          gain += weight[at(u)] * snr / (1 + snr);
          rest += weight[at(u)] / (1 + snr);
        }
        for (index_t u = 0; u < mixture.products; ++u) {
          const double snr = snr_of(u, p, v), off = snr / (1 + snr) - gain;
          spread += weight[at(u)] * off * off;
        }
        const auto g = static_cast<float>(gain);
        mean_[at(a * 2 * size + i)] = g * re;
        mean_[at(a * 2 * size + size + i)] = g * im;
        var_[at(a * size + i)] = g * v + static_cast<float>(spread) * (re * re + im * im);
        const double probability = static_cast<double>(belief), matched = probability * gain;
        const double unmatched = 1 - probability + probability * rest;
        target_[at(a * size + i)] = sharp_ ? static_cast<float>(static_cast<double>(v) * matched / unmatched)
                                           : belief * static_cast<float>(likely) * mixture.eigenvalue[p];
      }
    }
  });
}

// Half of the way to the new variances.
void Repeated::renew() {
  const Shape& s = plan_.shape;
  const index_t size = s.coefficients * s.lanes;
  for (float& value : above_) value *= 0.5f;
  for (index_t a = 0; a < static_cast<index_t>(candidate_.size()); ++a) {
    std::int32_t& place = place_[at(candidate_[at(a)])];
    if (place < 0) {
      place = static_cast<std::int32_t>(raised_.size());
      raised_.push_back(candidate_[at(a)]);
      above_.resize(above_.size() + at(size));
    }
    for (index_t i = 0; i < size; ++i) above_[at(place * size + i)] += 0.5f * target_[at(a * size + i)];
  }
  for (index_t place = static_cast<index_t>(raised_.size()) - 1; place >= 0; --place) {
    float* const mine = above_.data() + place * size;
    float share = 0;
    for (index_t p = 0; p < s.coefficients; ++p)
      for (index_t b = 0; b < s.antennas; ++b)
        share = std::max(share, mine[p * s.lanes + b] / plan_.activity.eigenvalue[at(p)]);
    if (share > kNegligible) continue;
    place_[at(raised_[at(place)])] = -1;
    const index_t last = static_cast<index_t>(raised_.size()) - 1;
    if (last != place) {
      std::copy_n(above_.data() + last * size, size, mine);
      raised_[at(place)] = raised_[at(last)];
      place_[at(raised_[at(place)])] = static_cast<std::int32_t>(place);
    }
    raised_.pop_back();
    above_.resize(above_.size() - at(size));
  }
  background_ = sharp_ ? 0.0f : 0.5f * background_;
}

}  // namespace jadce

#include "receiver/stmp.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <complex>
#include <limits>
#include <utility>

#include "loop/loop.hpp"

namespace jadce {

namespace {

constexpr index_t kFirstHistory = 4096;  // iterations for which there is room from the beginning

std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

// Sum of squares in double precision; `count` is a multiple of kLanes.
double square(const float* x, index_t count) {
  double part[kLanes] = {};
  for (index_t i = 0; i < count; i += kLanes)
    for (index_t j = 0; j < kLanes; ++j) part[j] += static_cast<double>(x[i + j]) * static_cast<double>(x[i + j]);
  double total = 0;
  for (double p : part) total += p;
  return total;
}

}  // namespace

Stmp::Stmp(Transform& transform, StmpPlan plan)
    : transform_(transform),
      shape_(transform.shape()),
      plan_(std::move(plan)),
      rules_(plan_.rules),
      s_(shape_, std::min(shape_.devices, 2 * plan_.capacity)),
      tone_(shape_, plan_.rotation) {
  known_power_ = plan_.activity.log_power_weight.size() == 1;
  const std::vector<float>& gram = plan_.gram;
  uniform_gram_ = std::all_of(gram.begin(), gram.end(), [&](float g) { return g == gram.front(); });
  double total = 0;
  for (float g : gram) total += g;
  mean_gram_ = static_cast<float>(total / static_cast<double>(gram.size()));

  const index_t points = shape_.measurements() * shape_.point(), k = shape_.devices, lanes = shape_.lanes;
  const index_t groups = transform_.view().groups(), products = static_cast<index_t>(plan_.activity.product.size());
  for (Floats* buffer : {&y_, &r_pri_, &r_, &r_old_}) *buffer = floats(points);
  residual_power_ = floats(shape_.subcarriers * lanes);
  for (Floats* buffer : {&v_a_, &v_b_, &eta_, &a_, &b_}) *buffer = floats(lanes);
  null_ = floats(groups * lanes);
  energy_ = floats(transform_.energy_size());
  slope_ = floats(products * groups * lanes);
  offset_ = floats(products * lanes);
  for (auto* values : {&llr_, &posterior_, &kept_posterior_}) values->resize(at(k));
  idle_.resize(at(k));
  unknown_.resize(at(shape_.antennas));
  order_.resize(at(k));
  const index_t capacity = plan_.capacity;
  z_ = floats(capacity * shape_.channel());
  noise_ = floats(capacity * lanes);
  now_ = make_output();
  kept_ = make_output();
  tested_.device.resize(at(capacity));
  tested_.posterior.resize(at(capacity));
  decided_.resize(at(capacity));
  decided_at_.resize(at(capacity));
  decided_mean_ = floats(capacity * shape_.channel());
  history_.reserve(at(std::min<index_t>(rules_.max_iterations, kFirstHistory)));
}

Stmp::Output Stmp::make_output() const {
  const index_t capacity = plan_.capacity;
  Output out;
  out.device.resize(at(capacity));
  for (auto* values : {&out.posterior, &out.power}) values->resize(at(capacity));
  out.mean = floats(capacity * shape_.channel());
  out.var = floats(capacity * shape_.lanes);
  return out;
}

void Stmp::detect(const cfloat* y, double noise_var, const NoiseCovariance& covariance,
                  const std::vector<Denoiser>& denoisers) {
  const Clock::time_point arrived = Clock::now();
  const index_t entries = shape_.measurements() * shape_.antennas;
  transform_.beamspace(y, plan_.rotation.empty() ? nullptr : plan_.rotation.data(), y_.get());
  received_ = add_energy(y, entries, 0) / static_cast<double>(entries);
  run(arrived, noise_var, covariance, denoisers, INFINITY);
}

void Stmp::detect(Arrived& block, double noise_var, const NoiseCovariance& covariance,
                  const std::vector<Denoiser>& denoisers, float deadline) {
  std::swap(y_, block.y);
  received_ = block.energy / static_cast<double>(shape_.measurements() * shape_.antennas);
  run(block.at, noise_var, covariance, denoisers, deadline);
}

void Stmp::run(Clock::time_point arrived, double noise_var, const NoiseCovariance& covariance,
               const std::vector<Denoiser>& denoisers, float deadline) {
  Clock::time_point before = arrived;
  const auto spent = [&](Part part) {
    const Clock::time_point now = Clock::now();
    seconds_[part] += std::chrono::duration<double>(now - before).count();
    before = now;
  };
  seconds_.fill(0);
  colored_.reset();
  if (!covariance.white()) colored_.emplace(transform_, covariance, plan_.gram, mean_gram_);
  start(noise_var, static_cast<index_t>(denoisers.size()));
  control_.deadline = deadline;
  spent(kStart);
  Control& c = control_;
  while (c.going) {
    const float error = module_a();
    plan(c, rules_, error, std::chrono::duration<float, std::micro>(Clock::now() - arrived).count());
    spent(kModuleA);
    if (c.run) {
      if (c.test) test_activity();
      now_.count = tested_.count;
      std::copy_n(tested_.device.begin(), tested_.count, now_.device.begin());
      std::copy_n(tested_.posterior.begin(), tested_.count, now_.posterior.begin());
      spent(kActivity);
      gather();
      spent(kGather);
      denoisers[at(c.member)](
          {shape_, now_.count, now_.device.data(), z_.get(), noise_.get(), now_.mean.get(), now_.var.get()});
      spent(kDenoise);
      history_.push_back({static_cast<double>(c.error) * power_, now_.count});
      update();
      if (c.keep) keep();
      spent(kUpdate);
    }
    ended(c);
  }
  decide();
  spent(kDecide);
}

void Stmp::start(double noise_var, index_t members) {
  if (colored_) received_ = colored_->mean_square(y_.get());
  power_ = mean_power(rules_, received_, noise_var, plan_.power, plan_.expected, shape_.symbols);
  control_ = begin(received_, noise_var, power_, plan_.expected, shape_.measurements() * shape_.antennas, members);
  control_.colored = colored_.has_value();
  control_.known = plan_.power > 0;
  history_.clear();
  s_.clear();
  std::fill(kept_posterior_.begin(), kept_posterior_.end(), 0.0f);
  std::fill(unknown_.begin(), unknown_.end(), 1.0f);
  const index_t row = shape_.symbols * shape_.point();
  transform_.pool().each(shape_.subcarriers, [&](index_t n, int) {
    for (index_t i = n * row; i < (n + 1) * row; ++i) y_[at(i)] *= control_.scale;
    std::fill_n(r_pri_.get() + n * row, row, 0.0f);
  });
  tested_.count = kept_.count = 0;
}

// Residual, tracked variances and matched-filter input: module A, Cai (7)-(11). Returns the mean variance of its
// message to module B.
float Stmp::module_a() {
  const index_t lanes = shape_.lanes, n = shape_.subcarriers;
  const bool first = control_.iteration == 0, measure = first || !rules_.predicted;
  const std::vector<float>& gram = plan_.gram;
  transform_.residual(y_.get(), gram.data(), first ? nullptr : r_pri_.get(), s_.view(), r_.get(),
                      residual_power_.get());
  const float noise = control_.noise, floor = variance_floor(rules_, noise, control_.received, mean_gram_);
  const float k = static_cast<float>(shape_.devices);
  double mean = 0;
  if (colored_) {
    colored_->mean_square(r_.get());
    if (measure) colored_->variances(noise, floor, v_a_.get());
    std::copy_n(r_pri_.get(), shape_.measurements() * shape_.point(), r_old_.get());
    colored_->correct({v_a_.get(), unknown_.data(), noise}, measure ? floor : rules_.smallest_alpha * floor, r_.get(),
                      r_pri_.get(), v_b_.get());
    std::swap(r_, r_pri_);  // R~
    std::swap(r_pri_, r_old_);
    for (index_t b = 0; b < shape_.antennas; ++b) mean += v_b_[at(b)];
    return static_cast<float>(mean / static_cast<double>(shape_.antennas));
  }
  for (index_t b = 0; b < lanes; ++b) {
    double total = 0;
    for (index_t i = 0; i < n; ++i) total += residual_power_[at(i * lanes + b)];
    const float residual = static_cast<float>(total / static_cast<double>(shape_.measurements()));
    const bool measured = measure || b >= shape_.antennas;
    const float v = measured ? measured_variance(residual, noise, mean_gram_, floor) : v_a_[at(b)];
    double eta = 0;
    if (uniform_gram_) {
      eta = static_cast<double>(shape_.measurements()) * v * gram.front() / (v * gram.front() + noise);
    } else {
      for (float g : gram) eta += v * g / (v * g + noise);
    }
    eta /= static_cast<double>(n) * k;
    v_a_[at(b)] = v;
    eta_[at(b)] = static_cast<float>(eta);
    v_b_[at(b)] = message_variance(v, eta, measured ? floor : rules_.smallest_alpha * floor);
    if (b < shape_.antennas) mean += v_b_[at(b)];
  }
  transform_.pool().each(tasks(shape_, n), [&](index_t task, int) {
    transform_.kernels().module_a({.shape = shape_,
                                   .gram = gram.data(),
                                   .v = v_a_.get(),
                                   .eta = eta_.get(),
                                   .noise = noise,
                                   .r_pri = r_pri_.get(),
                                   .r = r_.get()},
                                  task);
  });
  return static_cast<float>(mean / static_cast<double>(shape_.antennas));
}

// Posterior activity of all devices, and the candidates.
void Stmp::test_activity() {
  const KernelTable& kernels = transform_.kernels();
  const TransformView& view = transform_.view();
  const index_t groups = view.groups(), lanes = shape_.lanes, blocks = lanes / kernels.width;
  transform_.energy(r_.get(), s_.view(), energy_.get());
  if (control_.idle > rules_.enough_idle) {
    transform_.pool().each(groups * blocks, [&](index_t task, int) {
      kernels.null_energy({.transform = view,
                           .idle = idle_.data(),
                           .count = control_.idle,
                           .energy = energy_.get(),
                           .multiplicity = plan_.activity.multiplicity.data(),
                           .null = null_.get()},
                          task);
    });
    for (index_t g = 0; g < groups; ++g)
      for (index_t b = 0; b < lanes; ++b) {
        float& null = null_[at(g * lanes + b)];
        null = b < shape_.antennas ? believed_null(rules_, null, v_b_[at(b)]) : 1.0f;  // lanes beyond are empty
      }
  } else {
    for (index_t g = 0; g < groups; ++g)
      for (index_t b = 0; b < lanes; ++b) null_[at(g * lanes + b)] = b < shape_.antennas ? v_b_[at(b)] : 1.0f;
  }
  ActivityView activity = plan_.activity.view();
  activity.least_power = control_.sought = least_power(control_, rules_);
  transform_.pool().each(blocks, [&](index_t task, int) {
    kernels.activity_table({.shape = shape_,
                            .groups = groups,
                            .mixture = activity,
                            .null = null_.get(),
                            .slope = slope_.get(),
                            .offset = offset_.get()},
                           task);
  });
  transform_.pool().each((shape_.devices + kActivityChunk - 1) / kActivityChunk, [&](index_t task, int) {
    kernels.activity({.shape = shape_,
                      .groups = groups,
                      .mixture = activity,
                      .energy = energy_.get(),
                      .slope = slope_.get(),
                      .offset = offset_.get(),
                      .llr = llr_.data()},
                     task);
  });
  const float odds = prior_log_odds(control_, rules_, plan_.log_odds, plan_.activity.power.back(), shape_.devices);
  control_.idle = control_.faint = 0;
  for (index_t k = 0; k < shape_.devices; ++k) {
    llr_[at(k)] += odds;
    posterior_[at(k)] = sigmoid(llr_[at(k)]);
    idle_[at(k)] = llr_[at(k)] < rules_.idle;
    control_.idle += idle_[at(k)];
    control_.faint += is_faint(rules_, llr_[at(k)]);
  }
  select();
}

void Stmp::select() {
  Control& c = control_;
  index_t count = 0;
  for (index_t k = 0; k < shape_.devices; ++k)
    if (posterior_[at(k)] > rules_.candidate_above()) order_[at(count++)] = static_cast<std::int32_t>(k);
  const index_t plausible = count;
  if (count > plan_.capacity) {  // the most probable ones stay; equal ones by index
    count = plan_.capacity;
    std::nth_element(
        order_.begin(), order_.begin() + count, order_.begin() + plausible,
        [&](std::int32_t i, std::int32_t j) { return llr_[at(i)] != llr_[at(j)] ? llr_[at(i)] > llr_[at(j)] : i < j; });
    std::sort(order_.begin(), order_.begin() + count);
  }
  bool same = count == c.candidates, certain = true;
  for (index_t a = 0; a < count; ++a) {
    const std::int32_t k = order_[at(a)];
    same = same && tested_.device[at(a)] == k;
    certain = certain && posterior_[at(k)] > rules_.certain_above();
    tested_.device[at(a)] = k;
    tested_.posterior[at(a)] = posterior_[at(k)];
  }
  c.left_out = static_cast<std::int32_t>(plausible - count);
  const auto doubtful = std::count_if(llr_.begin(), llr_.end(), [&](float x) { return is_doubtful(rules_, x); });
  c.settled = settled(c, same, certain, static_cast<std::int32_t>(doubtful));
  double expected = 0;
  for (index_t a = 0; a < count; ++a) expected += static_cast<double>(tested_.posterior[at(a)]);
  c.expected = static_cast<float>(expected);
  if (plan_.learn_rate) learn_rate(c, plan_.log_odds, shape_.devices);
  tested_.count = count;
  c.candidates = static_cast<std::int32_t>(count);
}

// The candidates' coefficients, scaled to unit power.
void Stmp::gather() {
  const index_t size = shape_.channel(), lanes = shape_.lanes;
  const float dimensions = static_cast<float>(shape_.subcarriers * shape_.antennas), mean_v = control_.error;
  const float noise = mean_v * static_cast<float>(shape_.coefficients) / static_cast<float>(shape_.subcarriers);
  transform_.gather(r_.get(), now_.device.data(), now_.count, z_.get());
  transform_.pool().each(now_.count, [&](index_t a, int) {
    float* z = z_.get() + a * size;
    if (const float* s = s_.of_device(now_.device[at(a)]))
      for (index_t i = 0; i < size; ++i) z[i] += s[i];
    float power = 1;  // a known one is one in our units
    if (!known_power_) {
      power = device_power(rules_, square(z, size), dimensions, noise, mean_v);
      const float gain = 1 / std::sqrt(power);
      for (index_t i = 0; i < size; ++i) z[i] *= gain;
    }
    now_.power[at(a)] = power;
    for (index_t b = 0; b < lanes; ++b) noise_[at(a * lanes + b)] = b < shape_.antennas ? v_b_[at(b)] / power : 1.0f;
  });
}

// The extrinsic message to module A, damped; Cai (35)-(42), (57).
void Stmp::update() {
  const index_t lanes = shape_.lanes, size = shape_.channel();
  const float gamma = control_.gamma;
  double sum = 0;
  for (index_t a = 0; a < now_.count; ++a) sum += static_cast<double>(now_.posterior[at(a)]);
  for (index_t b = 0; b < lanes; ++b) {
    double total = 0;
    for (index_t a = 0; a < now_.count; ++a)
      total += static_cast<double>(now_.posterior[at(a)] * now_.power[at(a)] * now_.var[at(a * lanes + b)]);
    if (b < shape_.antennas && sum > 0)
      unknown_[at(b)] = unknown_channel(total, sum, static_cast<int>(shape_.antennas));
    const double alpha = static_cast<double>(rules_.caution) * total /
                         (static_cast<double>(v_b_[at(b)]) * static_cast<double>(shape_.devices));
    const float believed = b < shape_.antennas ? believed_alpha(rules_, alpha) : 0.0f;
    a_[at(b)] = 1 / (1 - believed);
    b_[at(b)] = believed / (1 - believed);
    if (rules_.predicted) v_a_[at(b)] = gamma * v_b_[at(b)] * b_[at(b)] + (1 - gamma) * v_a_[at(b)];
  }
  float count = 0, logarithms = 0, squares = 0;
  for (index_t a = 0; a < now_.count; ++a) {
    const float weight = now_.posterior[at(a)], value = std::log(now_.power[at(a)]);
    count += weight;
    logarithms += weight * value;
    squares += weight * value * value;
  }
  learn_powers(control_, rules_, count, logarithms, squares);
  // Devices that are not candidates any more keep S but get no new posterior; candidates without a place take one.
  std::vector<std::int32_t>& candidate = order_;  // candidate of each slot, where the next selection will write
  std::fill_n(candidate.begin(), s_.count(), -1);
  for (index_t a = 0; a < now_.count; ++a) {
    const index_t slot = s_.place(now_.device[at(a)]);
    if (slot >= 0) candidate[at(slot)] = static_cast<std::int32_t>(a);
  }
  transform_.pool().each(tasks(shape_, s_.count()), [&](index_t task, int) {
    const index_t slot = task % s_.count();
    const index_t a = candidate[at(slot)];
    const float weight = a < 0 ? 0 : now_.posterior[at(a)] * std::sqrt(now_.power[at(a)]);
    transform_.kernels().combine({.shape = shape_,
                                  .gamma = gamma,
                                  .a = a_.get(),
                                  .b = b_.get(),
                                  .weight = weight,
                                  .h = a < 0 ? nullptr : now_.mean.get() + a * size,
                                  .s = s_.of_slot(slot)},
                                 task / s_.count());
  });
  transform_.pool().each(tasks(shape_, shape_.subcarriers), [&](index_t task, int) {
    transform_.kernels().damp({.shape = shape_, .gamma = gamma, .b = b_.get(), .r_b = r_.get(), .r_pri = r_pri_.get()},
                              task);
  });
  if (rules_.screening)
    s_.prune(rules_.negligible * control_.error * static_cast<float>(shape_.antennas * shape_.coefficients));
}

}  // namespace jadce

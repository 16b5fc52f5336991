#include "receiver/stmp.hpp"

#include <algorithm>
#include <cmath>

#include "loop/rules.hpp"

namespace jadce {

namespace {

std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

}  // namespace

ActivityView ActivityPlan::view() const {
  return {static_cast<index_t>(weight.size()),
          static_cast<index_t>(log_power_weight.size()),
          static_cast<index_t>(product.size()),
          product.data(),
          weight.data(),
          log_power_weight.data(),
          index.data(),
          eigenvalue.data(),
          multiplicity.data()};
}

Stmp::Stmp(Transform& transform, ActivityPlan activity, std::vector<float> gram, std::vector<cfloat> rotation,
           index_t capacity)
    : transform_(transform),
      shape_(transform.shape()),
      activity_(std::move(activity)),
      gram_(std::move(gram)),
      rotation_(std::move(rotation)),
      capacity_(capacity),
      support_limit_(std::min(shape_.devices, 2 * capacity)) {
  known_power_ = activity_.log_power_weight.size() == 1;
  uniform_gram_ = std::all_of(gram_.begin(), gram_.end(), [&](float g) { return g == gram_.front(); });
  double total = 0;
  for (float g : gram_) total += g;
  mean_gram_ = static_cast<float>(total / static_cast<double>(gram_.size()));

  const index_t points = shape_.measurements() * shape_.point(), k = shape_.devices, lanes = shape_.lanes;
  const index_t groups = transform_.view().groups(), products = static_cast<index_t>(activity_.product.size());
  for (Floats* buffer : {&y_, &big_, &old_, &r_}) *buffer = floats(points);
  power_ = floats(shape_.subcarriers * lanes);
  for (Floats* buffer : {&v_a_, &v_b_, &eta_, &a_, &b_}) *buffer = floats(lanes);
  null_ = floats(groups * lanes);
  energy_ = floats(transform_.energy_size());
  slope_ = floats(products * groups * lanes);
  offset_ = floats(products * lanes);
  for (auto* values : {&llr_, &posterior_, &kept_posterior_}) values->resize(at(k));
  quiet_.resize(at(k));
  order_.resize(at(k));
  slot_.resize(at(k));
  z_ = floats(capacity_ * shape_.channel());
  noise_ = floats(capacity_ * lanes);
  now_ = make_output();
  kept_ = make_output();
  resize(screened_);
  support_device_.resize(at(support_limit_));
  support_ = floats(support_limit_ * shape_.channel());
  decided_.resize(at(capacity_));
  decided_at_.resize(at(capacity_));
  decided_mean_ = floats(capacity_ * shape_.channel());
}

void Stmp::resize(Candidates& list) const {
  list.device.resize(at(capacity_));
  list.posterior.resize(at(capacity_));
}

Stmp::Output Stmp::make_output() const {
  Output out;
  resize(out);
  out.power.resize(at(capacity_));
  out.mean = floats(capacity_ * shape_.channel());
  out.var = floats(capacity_ * shape_.lanes);
  return out;
}

void Stmp::start(const cfloat* y, float scale, float noise, bool predicted) {
  predicted_ = predicted;
  scale_ = scale;
  noise_var_ = noise;
  first_ = true;
  support_count_ = 0;
  quiet_count_ = 0;
  std::fill(slot_.begin(), slot_.end(), -1);
  std::fill(kept_posterior_.begin(), kept_posterior_.end(), 0.0f);
  const index_t points = shape_.measurements() * shape_.point();
  transform_.beamspace(y, rotation_.empty() ? nullptr : rotation_.data(), y_.get());
  double total = 0;
  for (index_t i = 0; i < points; ++i) {
    y_[at(i)] *= scale;
    total += static_cast<double>(y_[at(i)]) * static_cast<double>(y_[at(i)]);
  }
  y_power_ = static_cast<float>(total / static_cast<double>(shape_.measurements() * shape_.antennas));
  std::fill_n(big_.get(), points, 0.0f);
  now_.count = 0;
  screened_.count = -1;
  settled_ = false;
  kept_.count = kept_.left_out = 0;
  decided_count_ = 0;
}

float Stmp::observe() {
  const index_t lanes = shape_.lanes, n = shape_.subcarriers;
  const Support support{support_count_, support_device_.data(), support_.get()};
  transform_.residual(y_.get(), gram_.data(), first_ ? nullptr : big_.get(), support, r_.get(), power_.get());
  const bool measure = first_ || !predicted_;
  first_ = false;
  const float floor = variance_floor(noise_var_, y_power_, mean_gram_);
  const float k = static_cast<float>(shape_.devices);
  double mean = 0;
  for (index_t b = 0; b < lanes; ++b) {
    double total = 0;
    for (index_t i = 0; i < n; ++i) total += power_[at(i * lanes + b)];
    const float residual = static_cast<float>(total / static_cast<double>(shape_.measurements()));
    const bool measured = measure || b >= shape_.antennas;
    const float v = measured ? measured_variance(residual, noise_var_, mean_gram_, floor) : v_a_[at(b)];
    double eta = 0;
    if (uniform_gram_) {
      eta = static_cast<double>(shape_.measurements()) * v * gram_.front() / (v * gram_.front() + noise_var_);
    } else {
      for (float g : gram_) eta += v * g / (v * g + noise_var_);
    }
    eta /= static_cast<double>(n) * k;
    v_a_[at(b)] = v;
    eta_[at(b)] = static_cast<float>(eta);
    v_b_[at(b)] = message_variance(v, eta, measured ? floor : kSmallestAlpha * floor);
    if (b < shape_.antennas) mean += v_b_[at(b)];
  }
  mean_v_ = static_cast<float>(mean / static_cast<double>(shape_.antennas));
  transform_.pool().each(n, [&](index_t i, int) {
    const index_t row = shape_.symbols * shape_.point();
    std::copy_n(big_.get() + i * row, row, old_.get() + i * row);
    transform_.kernels().observe(shape_, i, gram_.data(), v_a_.get(), eta_.get(), noise_var_, r_.get(), big_.get());
  });
  return mean_v_;
}

index_t Stmp::screen(float log_odds, float threshold, bool everyone) {
  const KernelTable& kernels = transform_.kernels();
  const TransformView& view = transform_.view();
  const index_t groups = view.groups(), lanes = shape_.lanes, blocks = lanes / kernels.width;
  const Support support{support_count_, support_device_.data(), support_.get()};
  transform_.energy(big_.get(), support, slot_.data(), energy_.get());
  if (quiet_count_ > kEnoughQuiet) {
    transform_.pool().each(groups * blocks, [&](index_t task, int) {
      kernels.null_energy(view, task, quiet_.data(), quiet_count_, energy_.get(), activity_.multiplicity.data(),
                          null_.get());
    });
    for (index_t g = 0; g < groups; ++g)
      for (index_t b = 0; b < lanes; ++b) {
        float& null = null_[at(g * lanes + b)];
        null = b < shape_.antennas ? believed_null(null, v_b_[at(b)]) : 1.0f;  // lanes beyond are empty
      }
  } else {
    for (index_t g = 0; g < groups; ++g)
      for (index_t b = 0; b < lanes; ++b) null_[at(g * lanes + b)] = b < shape_.antennas ? v_b_[at(b)] : 1.0f;
  }
  const ActivityView activity = activity_.view();
  transform_.pool().each(blocks, [&](index_t task, int) {
    kernels.activity_table(shape_, groups, task, activity, null_.get(), slope_.get(), offset_.get());
  });
  transform_.pool().each((shape_.devices + kActivityChunk - 1) / kActivityChunk, [&](index_t task, int) {
    kernels.activity(shape_, groups, task * kActivityChunk, std::min((task + 1) * kActivityChunk, shape_.devices),
                     activity, energy_.get(), slope_.get(), offset_.get(), llr_.data());
  });
  quiet_count_ = 0;
  for (index_t k = 0; k < shape_.devices; ++k) {
    llr_[at(k)] += log_odds;
    posterior_[at(k)] = sigmoid(llr_[at(k)]);
    quiet_[at(k)] = llr_[at(k)] < kQuiet;
    quiet_count_ += quiet_[at(k)];
  }
  select(threshold, everyone);
  return now_.count;
}

void Stmp::select(float threshold, bool everyone) {
  index_t count = 0;
  for (index_t k = 0; k < shape_.devices; ++k)
    if (everyone || posterior_[at(k)] > threshold) order_[at(count++)] = static_cast<std::int32_t>(k);
  screened_.left_out = count > capacity_ ? count - capacity_ : 0;
  if (count > capacity_) {  // the most probable ones; equal ones by index
    std::nth_element(
        order_.begin(), order_.begin() + capacity_, order_.begin() + count,
        [&](std::int32_t i, std::int32_t j) { return llr_[at(i)] != llr_[at(j)] ? llr_[at(i)] > llr_[at(j)] : i < j; });
    count = capacity_;
    std::sort(order_.begin(), order_.begin() + count);
  }
  everyone_ = everyone;
  settled_ = count == screened_.count;
  for (index_t a = 0; a < count; ++a) {
    const float posterior = posterior_[at(order_[at(a)])];
    settled_ = settled_ && screened_.device[at(a)] == order_[at(a)] && (posterior > kCertain || everyone);
    screened_.device[at(a)] = order_[at(a)];
    screened_.posterior[at(a)] = posterior;
  }
  screened_.count = count;
  hold();
}

index_t Stmp::hold() {
  now_.count = screened_.count;
  now_.left_out = screened_.left_out;
  std::copy_n(screened_.device.begin(), screened_.count, now_.device.begin());
  std::copy_n(screened_.posterior.begin(), screened_.count, now_.posterior.begin());
  return now_.count;
}

void Stmp::gather() {
  const index_t size = shape_.channel(), lanes = shape_.lanes;
  const float dimensions = static_cast<float>(shape_.subcarriers * shape_.antennas);
  const float noise = mean_v_ * static_cast<float>(shape_.coefficients) / static_cast<float>(shape_.subcarriers);
  transform_.pool().each(now_.count, [&](index_t a, int) {
    const index_t k = now_.device[at(a)];
    float* z = z_.get() + a * size;
    transform_.kernels().gather(transform_.view(), k, big_.get(), z);
    const index_t slot = slot_[at(k)];
    double energy = 0;
    for (index_t i = 0; i < size; ++i) {
      if (slot >= 0) z[i] += support_[at(slot * size + i)];
      energy += static_cast<double>(z[i]) * static_cast<double>(z[i]);
    }
    // A known power is one in our units.
    const float power = known_power_ ? 1.0f : device_power(energy, dimensions, noise, mean_v_);
    now_.power[at(a)] = power;
    const float gain = 1 / std::sqrt(power);
    for (index_t i = 0; i < size; ++i) z[i] *= gain;
    for (index_t b = 0; b < lanes; ++b) noise_[at(a * lanes + b)] = b < shape_.antennas ? v_b_[at(b)] / power : 1.0f;
  });
}

void Stmp::gaussian() {
  transform_.pool().each(now_.count, [&](index_t a, int) {
    transform_.kernels().gaussian(shape_, z_.get() + a * shape_.channel(), noise_.get() + a * shape_.lanes,
                                  mean() + a * shape_.channel(), var() + a * shape_.lanes);
  });
}

void Stmp::update(float gamma, float caution) {
  const index_t lanes = shape_.lanes, size = shape_.channel();
  for (index_t b = 0; b < lanes; ++b) {
    double total = 0;
    for (index_t a = 0; a < now_.count; ++a)
      total += static_cast<double>(now_.posterior[at(a)] * now_.power[at(a)] * now_.var[at(a * lanes + b)]);
    const double alpha =
        static_cast<double>(caution) * total / (static_cast<double>(v_b_[at(b)]) * static_cast<double>(shape_.devices));
    const float clipped = b < shape_.antennas ? believed_alpha(alpha) : 0.0f;
    a_[at(b)] = 1 / (1 - clipped);
    b_[at(b)] = clipped / (1 - clipped);
    if (predicted_) v_a_[at(b)] = gamma * v_b_[at(b)] * b_[at(b)] + (1 - gamma) * v_a_[at(b)];
  }
  // Devices that are not candidates any more keep S but get no new posterior; candidates without a place take one.
  std::vector<std::int32_t>& place = order_;  // free until the next selection
  std::fill_n(place.begin(), support_count_, -1);
  for (index_t a = 0; a < now_.count; ++a) {
    std::int32_t& slot = slot_[at(now_.device[at(a)])];
    if (slot < 0) {
      if (support_count_ == support_limit_) continue;  // only under hopeless overload: its message is not sent
      slot = static_cast<std::int32_t>(support_count_++);
      support_device_[at(slot)] = now_.device[at(a)];
      std::fill_n(support_.get() + slot * size, size, 0.0f);
    }
    place[at(slot)] = static_cast<std::int32_t>(a);
  }
  transform_.pool().each(support_count_, [&](index_t slot, int) {
    const index_t a = place[at(slot)];
    const float weight = a < 0 ? 0 : now_.posterior[at(a)] * std::sqrt(now_.power[at(a)]);
    transform_.kernels().combine(shape_, gamma, a_.get(), b_.get(), weight, a < 0 ? nullptr : mean() + a * size,
                                 support_.get() + slot * size);
  });
  transform_.pool().each(shape_.subcarriers, [&](index_t n, int) {
    transform_.kernels().damp(shape_, n, gamma, b_.get(), big_.get(), old_.get(), big_.get());
  });
  if (!everyone_) prune();
}

void Stmp::prune() {
  const index_t size = shape_.channel();
  const float limit = kNegligible * mean_v_ * static_cast<float>(shape_.antennas * shape_.coefficients);
  for (index_t slot = support_count_ - 1; slot >= 0; --slot) {
    const float* s = support_.get() + slot * size;
    float energy = 0;
    for (index_t i = 0; i < size && energy <= limit; ++i) energy += s[i] * s[i];
    if (energy > limit) continue;
    slot_[at(support_device_[at(slot)])] = -1;
    const index_t last = --support_count_;
    if (last == slot) continue;
    std::copy_n(support_.get() + last * size, size, support_.get() + slot * size);
    support_device_[at(slot)] = support_device_[at(last)];
    slot_[at(support_device_[at(slot)])] = static_cast<std::int32_t>(slot);
  }
}

void Stmp::keep() {
  std::swap(now_, kept_);
  kept_posterior_ = posterior_;
}

index_t Stmp::decide() {
  const index_t size = shape_.channel();
  index_t count = 0;
  for (index_t a = 0; a < kept_.count; ++a) {
    if (kept_.posterior[at(a)] < 0.5f) continue;
    const float gain = std::sqrt(kept_.power[at(a)]);
    const float* h = kept_.mean.get() + a * size;
    float* out = decided_mean_.get() + count * size;
    for (index_t i = 0; i < size; ++i) out[i] = gain * h[i];
    decided_[at(count)] = kept_.device[at(a)];
    decided_at_[at(count++)] = static_cast<std::int32_t>(a);
  }
  const Support support{count, decided_.data(), decided_mean_.get()};
  transform_.residual(y_.get(), gram_.data(), nullptr, support, r_.get(), power_.get());
  double total = 0;
  for (index_t i = 0; i < shape_.subcarriers * shape_.lanes; ++i) total += power_[at(i)];
  const float left = static_cast<float>(total / static_cast<double>(shape_.measurements() * shape_.antennas));
  if (!(left <= y_power_) || !std::isfinite(y_power_)) {  // worse than silence, or not a number
    std::fill(kept_posterior_.begin(), kept_posterior_.end(), 0.0f);
    residual_var_ = y_power_;
    return decided_count_ = 0;
  }
  residual_var_ = left;
  return decided_count_ = count;
}

void Stmp::channels(cfloat* channel, float* var) {
  const index_t lanes = shape_.lanes;
  transform_.pool().each(decided_count_, [&](index_t i, int thread) {
    transform_.kernels().channel(transform_.view(), decided_mean_.get() + i * shape_.channel(), 1 / scale_,
                                 transform_.dft(), transform_.scratch(thread),
                                 reinterpret_cast<float*>(channel + i * shape_.subcarriers * shape_.antennas));
    const index_t a = decided_at_[at(i)];
    float total = 0;
    for (index_t b = 0; b < shape_.antennas; ++b) total += kept_.var[at(a * lanes + b)];
    var[i] = total / static_cast<float>(shape_.antennas) * kept_.power[at(a)];
  });
}

}  // namespace jadce

// What a detection keeps of its iterations, decides on, and gives.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

#include "loop/loop.hpp"
#include "receiver/stmp.hpp"

namespace jadce {

namespace {

std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

}  // namespace

void Stmp::keep() {
  std::swap(now_, kept_);
  kept_posterior_ = posterior_;
  control_.kept = static_cast<std::int32_t>(kept_.count);
  control_.kept_left_out = control_.left_out;
}

// Decides on the kept output. If what is decided explains less of the block than it leaves, nobody is active.
void Stmp::decide() {
  const index_t size = shape_.channel();
  index_t count = 0;
  double fitted = 0;
  for (index_t a = 0; a < kept_.count; ++a) {
    if (kept_.posterior[at(a)] < rules_.active) continue;
    const float gain = std::sqrt(kept_.power[at(a)]);
    const float* h = kept_.mean.get() + a * size;
    float* out = decided_mean_.get() + count * size;
    for (index_t i = 0; i < size; ++i) out[i] = gain * h[i];
    for (index_t b = 0; b < shape_.antennas; ++b)
      fitted += static_cast<double>(kept_.var[at(a * shape_.lanes + b)] * kept_.power[at(a)]);
    decided_[at(count)] = kept_.device[at(a)];
    decided_at_[at(count++)] = static_cast<std::int32_t>(a);
  }
  control_.decided = static_cast<std::int32_t>(count);
  transform_.residual(y_.get(), plan_.gram.data(), nullptr, {count, decided_.data(), decided_mean_.get()}, r_.get(),
                      residual_power_.get());
  double left = 0;
  for (index_t i = 0; i < shape_.subcarriers * shape_.lanes; ++i) left += residual_power_[at(i)];
  left =
      colored_ ? colored_->mean_square(r_.get()) : left / static_cast<double>(shape_.measurements() * shape_.antennas);
  control_.fitted = static_cast<float>(fitted / static_cast<double>(shape_.antennas));
  const float share = static_cast<float>(shape_.coefficients) / static_cast<float>(shape_.measurements());
  conclude(control_, rules_, static_cast<float>(left), share);
  constant_on_ = control_.trusted && !colored_ ? tone_.find(r_.get()) : -1;
  if (control_.stopped == kSilence) {
    std::fill(kept_posterior_.begin(), kept_posterior_.end(), 0.0f);
  } else if (missing(control_, rules_) > 0) {
    double weights = 0;
    for (const float p : kept_posterior_) weights += static_cast<double>((1 - p) * unseen_weight(control_, rules_, p));
    spread_missing(control_, rules_, weights);
    for (float& p : kept_posterior_) p = with_unseen(control_, rules_, p);
  }
}

void Stmp::channel(index_t i, int thread, cfloat* out) {
  const double gain = plan_.amplitude[at(decided_[at(i)])];
  const float back = 1 / (control_.scale * static_cast<float>(gain));
  transform_.kernels().channel(transform_.view(), decided_mean_.get() + i * shape_.channel(), back, transform_.dft(),
                               transform_.scratch(thread), reinterpret_cast<float*>(out));
}

void Stmp::channels(cfloat* out, float* var) {
  const Clock::time_point before = Clock::now();
  const index_t lanes = shape_.lanes;
  transform_.pool().each(found(), [&](index_t i, int thread) {
    const double gain = plan_.amplitude[at(decided_[at(i)])];
    channel(i, thread, out + i * shape_.subcarriers * shape_.antennas);
    const index_t a = decided_at_[at(i)];
    float total = 0;
    for (index_t b = 0; b < shape_.antennas; ++b) total += kept_.var[at(a * lanes + b)];
    const float mean = total / static_cast<float>(shape_.antennas) * kept_.power[at(a)];
    const double largest = static_cast<double>(std::numeric_limits<float>::max());
    // A prior's variance that is not a number comes second, so that the largest one takes its place.
    var[i] = static_cast<float>(std::min(largest, static_cast<double>(mean) * power_ / (gain * gain)));
  });
  seconds_[kChannels] = std::chrono::duration<double>(Clock::now() - before).count();
}

}  // namespace jadce

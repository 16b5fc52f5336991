#include "receiver/arrivals.hpp"

#include <algorithm>
#include <complex>
#include <utility>

namespace jadce {

double add_energy(const cfloat* y, index_t count, double total) {
  for (index_t i = 0; i < count; ++i) total += std::norm(std::complex<double>(y[i]));
  return total;
}

Arrivals::Arrivals(Transform& transform, std::vector<cfloat> rotation)
    : transform_(transform),
      rotation_(std::move(rotation)),
      scratch_(floats(transform.shape().symbols * transform.shape().point())),
      coming_(make_block()),
      taken_(make_block()),
      waiting_(make_block()) {}

Arrived Arrivals::make_block() const {
  const Shape& s = transform_.shape();
  Arrived block;
  block.y = floats(s.measurements() * s.point());
  return block;
}

void Arrivals::push(const cfloat* y, index_t count, bool wait) {
  const auto at = std::chrono::steady_clock::now();
  const Shape& s = transform_.shape();
  const index_t symbol = s.subcarriers * s.antennas;
  while (count > 0) {
    const index_t some = std::min(count, s.symbols - have_);
    for (index_t n = 0; n < s.subcarriers; ++n)
      transform_.kernels().beamspace(
          {.shape = s,
           .first = have_,
           .count = some,
           .y = reinterpret_cast<const float*>(y),
           .dft = transform_.dft(),
           .rotation = rotation_.empty() ? nullptr : reinterpret_cast<const float*>(rotation_.data()),
           .scratch = scratch_.get(),
           .out = coming_.y.get()},
          n);
    coming_.energy = add_energy(y, some * symbol, coming_.energy);
    have_ += some;
    y += some * symbol;
    count -= some;
    if (have_ == s.symbols) complete(at, wait);
  }
}

void Arrivals::complete(std::chrono::steady_clock::time_point at, bool wait) {
  have_ = 0;
  std::unique_lock lock(mutex_);
  const std::int64_t number = counts_.complete++;
  if (full_ && wait) {
    ++counts_.waited;
    changed_.wait(lock, [&] { return !full_ || closed_; });
  }
  if (full_) {
    ++counts_.dropped;
  } else {
    std::swap(coming_, waiting_);
    waiting_.number = number;
    waiting_.at = at;
    full_ = true;
    changed_.notify_all();
  }
  coming_.energy = 0;
}

bool Arrivals::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return full_ || closed_; });
  if (!full_) return false;
  std::swap(taken_, waiting_);
  full_ = false;
  changed_.notify_all();
  return true;
}

void Arrivals::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

Arrivals::Counts Arrivals::counts() {
  const std::lock_guard lock(mutex_);
  return counts_;
}

}  // namespace jadce

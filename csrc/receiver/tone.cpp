#include "receiver/tone.hpp"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>

namespace jadce {

namespace {

constexpr index_t kFewestSymbols = 4, kFewestSubcarriers = 16;  // that show a tone
// Deviations that a tone's subcarrier stands out by, and its energy over its neighbours'.
constexpr double kDeviations = 12.0, kNeighbours = 4.0;
constexpr double kNormal = 1.4826;  // standard deviation over the median distance from the median

std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

// Median of numbers, which it reorders.
double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

}  // namespace

Tone::Tone(const Shape& shape, const std::vector<cfloat>& rotation) : shape_(shape) {
  const index_t t = shape.symbols, n = shape.subcarriers;
  weight_.assign(at(n * t), {1.0f / static_cast<float>(t), 0.0f});
  for (index_t i = 0; i < n * t && !rotation.empty(); ++i) {
    cfloat sum{};
    for (index_t j = 0; j < t; ++j) sum += std::conj(rotation[at(i * t + j)]);
    weight_[at(i)] = sum / static_cast<float>(t);
  }
  for (auto* values : {&energy_, &root_, &some_}) values->resize(at(n));
}

index_t Tone::find(const float* r) {
  const index_t count = shape_.subcarriers, lanes = shape_.lanes;
  if (shape_.symbols < kFewestSymbols || count < kFewestSubcarriers) return -1;
  for (index_t n = 0; n < count; ++n) {
    double energy = 0;
    for (index_t b = 0; b < shape_.antennas; b += kLanes) {
      const index_t some = std::min(kLanes, shape_.antennas - b);
      float re[kLanes] = {}, im[kLanes] = {};
      for (index_t t = 0; t < shape_.symbols; ++t) {
        const cfloat w = weight_[at(n * shape_.symbols + t)];
        const float* const x = r + (n * shape_.symbols + t) * shape_.point() + b;
        for (index_t i = 0; i < some; ++i) {
          re[i] += w.real() * x[i] - w.imag() * x[lanes + i];
          im[i] += w.real() * x[lanes + i] + w.imag() * x[i];
        }
      }
      for (index_t i = 0; i < some; ++i) energy += static_cast<double>(re[i] * re[i] + im[i] * im[i]);
    }
    energy_[at(n)] = energy;
    root_[at(n)] = std::cbrt(energy);
  }
  const index_t n = std::max_element(root_.begin() + 1, root_.end() - 1) - root_.begin();
  some_ = root_;
  const double middle = median(some_);
  for (index_t i = 0; i < count; ++i) some_[at(i)] = std::abs(root_[at(i)] - middle);
  const bool alone = energy_[at(n)] > kNeighbours * (energy_[at(n - 1)] + energy_[at(n + 1)]);
  return alone && root_[at(n)] - middle > kDeviations * kNormal * median(some_) ? n : -1;
}

}  // namespace jadce

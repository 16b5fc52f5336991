#include <cmath>
#include <cstddef>
#include <numbers>

#include "kernels/fft/fft.hpp"

namespace jadce {

namespace {

cfloat unit(index_t numerator, index_t denominator) {  // exp(2 pi i numerator / denominator)
  const double angle =
      2 * std::numbers::pi * static_cast<double>(numerator % denominator) / static_cast<double>(denominator);
  return {static_cast<float>(std::cos(angle)), static_cast<float>(std::sin(angle))};
}

std::vector<int> factor(index_t n) {  // empty if a prime factor is too large
  std::vector<int> radices;
  for (int r : {5, 3, 4, 2}) {
    while (n % r == 0) {
      radices.push_back(r);
      n /= r;
    }
  }
  for (int r = 7; r <= kLargestRadix && n > 1; r += 2) {
    while (n % r == 0) {
      radices.push_back(r);
      n /= r;
    }
  }
  if (n > 1) radices.clear();
  return radices;
}

// Numbers of consecutive passes with a product of at most `most` rows.
std::vector<int> sweeps(const std::vector<int>& radices, index_t most) {
  std::vector<int> together;
  index_t size = most;
  for (const int r : radices) {
    if (size * r > most) {
      together.push_back(0);
      size = 1;
    }
    size *= r;
    ++together.back();
  }
  return together;
}

// The same, as few as possible and of about the same size.
std::vector<int> sweeps(const std::vector<int>& radices) {
  std::vector<int> best = sweeps(radices, kMostRows);
  for (index_t most = kLargestRadix; most < kMostRows; ++most)
    if (auto found = sweeps(radices, most); found.size() == best.size()) return found;
  return best;
}

// Transform in double precision and O(n * sum of radices), used once to plan the chirp.
std::vector<std::complex<double>> slow_transform(const std::vector<std::complex<double>>& x) {
  const index_t n = static_cast<index_t>(x.size());
  if (n == 1) return x;
  index_t r = 2;
  while (n % r != 0) ++r;
  const index_t m = n / r;
  std::vector<std::complex<double>> out(x.size());
  std::vector<std::vector<std::complex<double>>> part(static_cast<std::size_t>(r));
  for (index_t j = 0; j < r; ++j) {
    std::vector<std::complex<double>> sub(static_cast<std::size_t>(m));
    for (index_t i = 0; i < m; ++i) sub[static_cast<std::size_t>(i)] = x[static_cast<std::size_t>(i * r + j)];
    part[static_cast<std::size_t>(j)] = slow_transform(sub);
  }
  for (index_t k = 0; k < n; ++k) {
    std::complex<double> total = 0;
    for (index_t j = 0; j < r; ++j) {
      const double angle = 2 * std::numbers::pi * static_cast<double>(j * k % n) / static_cast<double>(n);
      total += part[static_cast<std::size_t>(j)][static_cast<std::size_t>(k % m)] * std::polar(1.0, angle);
    }
    out[static_cast<std::size_t>(k)] = total;
  }
  return out;
}

}  // namespace

std::vector<int> fft_radices(index_t n, index_t& padded) {
  padded = n;
  std::vector<int> radices = factor(n);
  if (n > 1 && radices.empty()) {
    for (padded = 2 * n - 1; (radices = factor(padded)).empty() || radices.back() > 5; ++padded) {
    }
  }
  return radices;
}

index_t fft_split(index_t n) {
  if (n > 1 && factor(n).empty()) return 1;
  index_t best = 1;
  for (index_t i = 2; i * i <= n; ++i)
    if (n % i == 0) best = i;
  return best;
}

FftPlan::FftPlan(index_t n) : length_(n), radices_(fft_radices(n, padded_)), together_(sweeps(radices_)) {
  if (padded_ != n) {  // Bluestein: f k = (f^2 + k^2 - (k - f)^2) / 2
    const auto phase = [&](index_t i) {
      return std::polar(1.0, std::numbers::pi * static_cast<double>(i * i % (2 * n)) / static_cast<double>(n));
    };
    std::vector<std::complex<double>> kernel(static_cast<std::size_t>(padded_));
    for (index_t i = 0; i < n; ++i) {
      chirp_.emplace_back(phase(i));
      kernel[static_cast<std::size_t>(i)] = std::conj(phase(i));
      if (i > 0) kernel[static_cast<std::size_t>(padded_ - i)] = std::conj(phase(i));
    }
    for (const auto& value : slow_transform(kernel)) chirp_dft_.emplace_back(value / static_cast<double>(padded_));
  }
  index_t rest = padded_;
  for (int r : radices_) {
    const index_t m = rest / r;
    for (index_t p = 0; p < m; ++p)
      for (int j = 1; j < r; ++j) twiddle_.push_back(unit(p * j, rest));
    for (int j = 0; j < r; ++j) root_.push_back(unit(j, r));
    rest = m;
  }
}

FftView FftPlan::view() const {
  const auto raw = [](const std::vector<cfloat>& v) {
    return v.empty() ? nullptr : reinterpret_cast<const float*>(v.data());
  };
  return {.length = length_,
          .padded = padded_,
          .passes = static_cast<int>(radices_.size()),
          .radices = radices_.data(),
          .sweeps = static_cast<int>(together_.size()),
          .together = together_.data(),
          .twiddle = raw(twiddle_),
          .root = raw(root_),
          .chirp = raw(chirp_),
          .chirp_dft = raw(chirp_dft_)};
}

}  // namespace jadce

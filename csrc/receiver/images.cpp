#include "receiver/images.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <numeric>

namespace jadce {

namespace {

using cdouble = std::complex<double>;

constexpr double kWeaker = 0.1;      // power of a mirror image over its device's: 10 dB of rejection are poor
constexpr double kAlike = 0.5;       // squared coherence of what is a copy of the other, unless that is likely:
constexpr double kChance = 1e-3;     // so often by chance,
constexpr double kFewest = 1.5;      // of more dimensions than these
constexpr double kEverybody = 0.5;   // part of the devices as strong of which there are images; of pairs with one gain
constexpr double kFlat = 0.98;       // part of an offset's energy in the mean; only the purest line of sight is as flat
constexpr double kWhite = 0.35;      // squared mean over mean square of beams' power: one half of white offsets
constexpr double kSamePilot = 0.8;   // squared coherence of pilots that are one
constexpr index_t kCompared = 128;   // entries of pilots that are compared,
constexpr index_t kFirst = 8;        // of which these come first,
constexpr double kHopeless = 0.5;    // and with less coherence of them the others are not looked at
constexpr double kNothing = 1e-300;  // instead of zero in a quotient

std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

double energy(const cfloat* h, index_t count) {
  constexpr index_t kSide = 4;
  double part[kSide] = {};
  index_t i = 0;
  for (; i + kSide <= count; i += kSide)
    for (index_t j = 0; j < kSide; ++j) part[j] += std::norm(cdouble(h[i + j]));
  for (; i < count; ++i) part[0] += std::norm(cdouble(h[i]));
  return part[0] + part[1] + part[2] + part[3];
}

// Squared coherence of two vectors of so many dimensions that chance exceeds in one of a thousand cases; never below
// kAlike. Above one where nothing can be told.
double unlikely(double dimensions) {
  return dimensions > kFewest ? std::max(kAlike, 1 - std::pow(kChance, 1 / (dimensions - 1))) : 2;
}

// Entries of [T, N] that are compared: multiples of a golden section, so that no pattern of the pilots is met in step,
// and the first ones are spread like all.
std::vector<index_t> sampled(index_t points) {
  index_t step = static_cast<index_t>(std::numbers::phi_v<double> * static_cast<double>(points)) - points;
  for (step = std::max<index_t>(step, 1); std::gcd(step, points) > 1;) ++step;
  std::vector<index_t> point(at(std::min(points, kCompared)));
  for (std::size_t i = 0; i < point.size(); ++i) point[i] = static_cast<index_t>(i) * step % points;
  return point;
}

}  // namespace

Images::Images(const std::int32_t* rows, const Shape& shape) : shape_(shape), by_row_(true), mirrors_(true) {
  const index_t n = shape.subcarriers;
  for (index_t i = 0; i < shape.measurements(); ++i) mirrors_ = mirrors_ && rows[i] == rows[i - i % n + n - 1 - i % n];
  is_constant_.assign(at(shape.devices), 0);
  is_constant_[0] = 1;
}

Images::Images(const cfloat* pilots, const Shape& shape) : shape_(shape), by_row_(false), mirrors_(true) {
  const index_t k = shape.devices, n = shape.subcarriers, points = shape.measurements();
  const std::vector<index_t> point = sampled(points);
  samples_ = static_cast<index_t>(point.size());
  for (const bool flip : {false, true}) {
    std::vector<cfloat>& sample = sample_[flip ? 1 : 0];
    sample.resize(at(k * samples_));
    for (index_t i = 0; i < samples_; ++i) {
      const index_t p = point[at(i)], from = flip ? p - p % n + n - 1 - p % n : p;
      for (index_t d = 0; d < k; ++d) sample[at(d * samples_ + i)] = pilots[from * k + d];
    }
    for (index_t d = 0; d < k; ++d) {
      cfloat* const own = sample.data() + d * samples_;
      const float scale = static_cast<float>(1 / std::sqrt(std::max(energy(own, samples_), kNothing)));
      for (index_t i = 0; i < samples_; ++i) own[i] *= scale;
    }
  }
  std::vector<cdouble> sum(at(k));
  std::vector<double> power(at(k));
  for (index_t i = 0; i < points; ++i)
    for (index_t d = 0; d < k; ++d) {
      const cdouble q = pilots[i * k + d];
      sum[at(d)] += q;
      power[at(d)] += std::norm(q);
    }
  for (index_t d = 0; d < k; ++d)
    is_constant_.push_back(std::norm(sum[at(d)]) > kSamePilot * static_cast<double>(points) * power[at(d)]);
}

// Whether the second pilot is the conjugate of the first one, and how much.
bool Images::are_alike(const cfloat* own, const cfloat* other, double& alike) const {
  const auto coherence = [&](index_t count) {
    float real = 0, imag = 0;
    for (index_t i = 0; i < count; ++i) {
      real += own[i].real() * other[i].real() - own[i].imag() * other[i].imag();
      imag += own[i].real() * other[i].imag() + own[i].imag() * other[i].real();
    }
    return static_cast<double>(real * real + imag * imag);
  };
  const index_t first = std::min(kFirst, samples_);
  if (coherence(first) <= kHopeless * energy(own, first) * energy(other, first)) return false;
  alike = coherence(samples_);
  return alike > kSamePilot;
}

index_t Images::partner(bool flip, const std::int32_t* active, index_t count, index_t own) const {
  const std::int32_t device = active[own];
  if (by_row_) {
    const std::int32_t other = static_cast<std::int32_t>((shape_.devices - device) % shape_.devices);
    const std::int32_t* const found = std::lower_bound(active, active + count, other);
    const bool is_there = found != active + count && *found == other && other != device;
    return is_there && (!flip || mirrors_) ? found - active : -1;
  }
  const cfloat* const first = sample_[0].data() + device * samples_;
  index_t best = -1;
  double most = 0, alike = 0;
  for (index_t a = 0; a < count; ++a) {
    const cfloat* const other = sample_[flip ? 1 : 0].data() + active[a] * samples_;
    if (a == own || !are_alike(first, other, alike) || alike <= most) continue;
    best = a;
    most = alike;
  }
  return best;
}

ImageSearch::ImageSearch(const Images& images, index_t most) : images_(images), shape_(images.shape()) {
  pairs_.reserve(at(most));
  power_.reserve(at(most * shape_.antennas));
  gains_.reserve(at(most * shape_.antennas));
  mean_.reserve(at(shape_.antennas));
  seen_.reserve(at(2 * most));
  for (auto* devices : {&mirrored_, &constant_}) devices->reserve(at(most));
}

// The pairs of active devices of which one's pilot is the other one's image.
void ImageSearch::pair(bool flip, const std::int32_t* active, index_t count) {
  pairs_.clear();
  for (index_t a = 0; a < count; ++a) {
    const index_t other = images_.partner(flip, active, count, a);
    if (other >= 0) pairs_.push_back({a, other, 0, 0, false, false});
  }
}

std::vector<index_t> ImageSearch::suspects(const std::int32_t* active, index_t count) {
  std::vector<index_t> rows;
  for (index_t a = 0; a < count; ++a)
    if (images_.is_constant(active[a])) rows.push_back(a);
  for (const bool flip : {false, true}) {
    pair(flip, active, count);
    for (const Pair& p : pairs_) rows.insert(rows.end(), {p.own, p.other});
  }
  std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  return rows;
}

// Compares the channels of a pair, and keeps the powers and gains at all antennas.
void ImageSearch::compare(Pair& pair, bool flip, index_t place, const Channel& channel) {
  const index_t n = shape_.subcarriers, m = shape_.antennas;
  const cfloat *const weak = channel(pair.own, 0), *const strong = channel(pair.other, 1);
  double* const power = power_.data() + place * m;
  cdouble* const gain = gains_.data() + place * m;
  std::fill_n(power, m, 0.0);
  std::fill_n(gain, m, 0.0);
  for (index_t i = 0; i < n; ++i) {
    const cfloat *const w = weak + i * m, *const s = strong + (flip ? n - 1 - i : i) * m;
    for (index_t j = 0; j < m; ++j) {
      gain[j] += cdouble(w[j]) * cdouble(s[j]);  // the image's channel is the conjugate one
      power[j] += std::norm(cdouble(s[j]));
    }
  }
  cdouble sum = 0;
  double explained = 0;
  for (index_t j = 0; j < m; ++j) {
    sum += gain[j];
    explained += std::norm(gain[j]) / std::max(power[j], kNothing);
    gain[j] /= std::max(power[j], kNothing);
  }
  const double dimensions = static_cast<double>(m) / flat_part(strong);
  pair.one_gain = std::norm(sum) > unlikely(dimensions) * pair.weak * pair.strong;
  pair.gains = explained > kAlike * pair.weak;
}

// Whether enough other pairs have the gains of this one.
bool ImageSearch::is_like_others(index_t place) const {
  const index_t m = shape_.antennas, count = static_cast<index_t>(pairs_.size());
  index_t alike = 0;
  for (index_t other = 0; other < count; ++other) {
    if (other == place || !pairs_[at(other)].gains) continue;
    cdouble product = 0;
    for (index_t j = 0; j < m; ++j) product += std::conj(gains_[at(place * m + j)]) * gains_[at(other * m + j)];
    alike += std::norm(product) > unlikely(static_cast<double>(m));
  }
  return static_cast<double>(alike) >= std::max(1.0, kEverybody * static_cast<double>(count - 1));
}

bool ImageSearch::find(const std::int32_t* active, index_t count, const Channel& channel) {
  const index_t m = shape_.antennas, size = shape_.subcarriers * m;
  seen_.clear();
  mirrored_.clear();
  constant_.clear();
  for (const bool flip : {false, true}) {
    pair(flip, active, count);
    for (Pair& p : pairs_) {
      p.weak = energy(channel(p.own, 0), size);
      p.strong = energy(channel(p.other, 1), size);
    }
    std::erase_if(pairs_, [](const Pair& p) { return !(p.weak < kWeaker * p.strong); });
    const index_t pairs = static_cast<index_t>(pairs_.size());
    power_.resize(at(pairs * m));
    gains_.resize(at(pairs * m));
    for (index_t i = 0; i < pairs; ++i) compare(pairs_[at(i)], flip, i, channel);
    for (index_t j = 0; j < m; ++j) {  // gains of antennas count by the power that is seen there
      double power = 0;
      for (index_t i = 0; i < pairs; ++i) power += power_[at(i * m + j)];
      for (index_t i = 0; i < pairs; ++i) gains_[at(i * m + j)] *= std::sqrt(power / static_cast<double>(pairs));
    }
    for (index_t i = 0; i < pairs; ++i) {
      cdouble* const gain = gains_.data() + i * m;
      double norm = 0;
      for (index_t j = 0; j < m; ++j) norm += std::norm(gain[j]);
      for (index_t j = 0; j < m; ++j) gain[j] /= std::max(std::sqrt(norm), kNothing);
    }
    for (index_t i = 0; i < pairs; ++i) {
      const Pair& p = pairs_[at(i)];
      if (!p.one_gain && !(p.gains && is_like_others(i))) continue;
      const Seen found{active[p.own], p.strong / static_cast<double>(size)};
      std::erase_if(seen_, [&](const Seen& s) { return s.device == found.device; });
      seen_.push_back(found);
    }
  }
  // A radio makes images of all devices that are as strong; two channels may be alike by chance.
  if (!seen_.empty()) {
    double least = seen_[0].power;
    for (const Seen& s : seen_) least = std::min(least, s.power);
    index_t as_strong = 0;
    for (index_t a = 0; a < count; ++a)
      as_strong += energy(channel(a, 0), size) >= least * static_cast<double>(size) * (1 - 1e-12);
    if (static_cast<double>(seen_.size()) >= kEverybody * static_cast<double>(as_strong))
      for (const Seen& s : seen_) mirrored_.push_back(s.device);
    std::sort(mirrored_.begin(), mirrored_.end());
  }
  for (index_t a = 0; a < count && shape_.subcarriers > 1; ++a)  // a single subcarrier is always flat
    if (images_.is_constant(active[a]) && is_offset(channel(a, 0))) constant_.push_back(active[a]);
  return !mirrored_.empty() || !constant_.empty();
}

// Part of a channel's energy that lies in its mean over subcarriers: one over the number of subcarriers that fade for
// themselves.
double ImageSearch::flat_part(const cfloat* h) {
  const index_t n = shape_.subcarriers, m = shape_.antennas;
  mean_.assign(at(m), 0);
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j < m; ++j) mean_[at(j)] += cdouble(h[i * m + j]) / static_cast<double>(n);
  double power = 0;
  for (const cdouble& x : mean_) power += std::norm(x);
  return std::clamp(power * static_cast<double>(n) / std::max(energy(h, n * m), kNothing), 1e-3, 1.0);
}

// Whether a channel is flat over subcarriers, and the same at all antennas or white over them.
bool ImageSearch::is_offset(const cfloat* h) {
  const index_t m = shape_.antennas;
  if (!(flat_part(h) > kFlat)) return false;
  cdouble sum = 0;
  double power = 0;
  for (const cdouble& x : mean_) {
    sum += x;
    power += std::norm(x);
  }
  if (std::norm(sum) / static_cast<double>(m) > kFlat * power) return true;
  double square = 0;  // of the beams' powers
  for (index_t b = 0; b < m; ++b) {
    const double turn = -2 * std::numbers::pi * static_cast<double>(b) / static_cast<double>(m);
    cdouble beam = 0;
    for (index_t j = 0; j < m; ++j) beam += mean_[at(j)] * std::polar(1.0, turn * static_cast<double>(j));
    square += std::norm(beam) * std::norm(beam);
  }
  return power * power > kWhite * square / static_cast<double>(m);
}

}  // namespace jadce

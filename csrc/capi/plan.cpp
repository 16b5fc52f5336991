#include "capi/plan.hpp"

#include <cmath>
#include <complex>
#include <cstddef>
#include <stdexcept>
#include <utility>

namespace {

using namespace jadce;

std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

// What a Transform is planned with.
struct PlannedPilots {
  std::vector<std::int32_t> rows;  // [N, T] of a partial DFT, or
  RotatedPilots rotated;
  std::vector<double> amplitude;  // [K]
};

PlannedPilots plan_pilots(const jadce_config& c, const Shape& s, int threads) {
  PlannedPilots out;
  std::string hindrance;
  if (c.pilot_rows != nullptr) {
    check_rows(c.pilot_rows, s);
    hindrance = jadce::hindrance(c.pilot_rows, s);
    for (index_t n = 0; n < s.subcarriers; ++n)
      for (index_t t = 0; t < s.symbols; ++t) out.rows.push_back(c.pilot_rows[t * s.subcarriers + n]);
    out.amplitude.assign(at(s.devices), std::sqrt(c.pilot_power));
    out.rotated.gram.assign(at(s.measurements()), static_cast<float>(s.devices));
  } else {
    const auto* const pilots = reinterpret_cast<const cfloat*>(c.pilots);
    double power = 0;
    for (index_t i = 0; i < s.measurements() * s.devices; ++i) power += std::norm(std::complex<double>(pilots[i]));
    power /= static_cast<double>(s.measurements() * s.devices);
    need(power >= kLeast && power <= kMost, "pilots", "finite numbers with a mean power of 1e-30 to 1e30", power);
    hindrance = jadce::hindrance(pilots, s);
    out.amplitude = amplitudes(pilots, s.measurements(), s.devices);
    if (hindrance.empty()) out.rotated = rotated_pilots(pilots, s, out.amplitude, threads);
  }
  if (!hindrance.empty())
    throw Unsupported("pilots: expected " + hindrance + "; the Python package plans with such devices");
  return out;
}

// How many beam powers are too many depends on the powers of devices, so the prior's file is refused here.
ActivityPlan planned_activity(const jadce_config& c, const Mixture& beams, const std::vector<double>& amplitude) try {
  return receiver_activity(beams, amplitude, c.antennas, c.power > 0);
} catch (const std::invalid_argument& error) {
  throw FileError(std::string("prior: expected fewer beam powers, found '") + c.prior + "', " + error.what());
}

}  // namespace

jadce_plan::jadce_plan(const jadce_config& c, jadce::Shape shape, int threads) : shape_(shape), threads_(threads) {
  const index_t before = jadce::floats_taken;
  const bool bf16 = c.network == JADCE_NETWORK_BF16 || (c.network == JADCE_NETWORK_AUTO && jadce::table().fast_bf16);
  jadce::Prior prior = jadce::load_prior(c.prior, c.subcarriers, bf16);
  shape_.coefficients = static_cast<index_t>(prior.beams.eigenvalue.size());
  PlannedPilots pilots = plan_pilots(c, shape_, threads);
  jadce::Rules rules;
  rules.active = static_cast<float>(c.threshold);
  rules.threshold = std::min(rules.active, rules.threshold);  // channels are estimated of candidates only
  if (c.max_iterations > 0) rules.max_iterations = c.max_iterations;
  rules = jadce::rules_of(rules, shape_.antennas, prior.beams);
  if (prior.closed_form) rules.caution = 1;
  const double rate = c.activity_rate > 0 ? c.activity_rate : jadce::kFirstRate;
  most_ = jadce::most_candidates(rules, rate, shape_.devices, c.capacity);
  const jadce::Assumed assumed = jadce::assumed(rate, c.power, pilots.amplitude);
  jadce::StmpPlan loop{.activity = planned_activity(c, prior.beams, pilots.amplitude),
                       .gram = pilots.rotated.gram,
                       .rotation = pilots.rotated.rotation,
                       .amplitude = pilots.amplitude,
                       .capacity = most_,
                       .rules = rules,
                       .log_odds = static_cast<float>(assumed.log_odds),
                       .learn_rate = c.activity_rate == 0,
                       .power = assumed.power,
                       .expected = assumed.expected};
  const std::int32_t* const rows = pilots.rows.empty() ? nullptr : pilots.rows.data();
  const index_t merge = jadce::merged(prior.beams.eigenvalue);
  if (c.device == JADCE_CPU) {
    transform_ = std::make_unique<jadce::Transform>(shape_, rows, 1.0f, rows ? nullptr : pilots.rotated.array.data(),
                                                    prior.basis.data(), merge, !prior.closed_form, threads, nullptr);
    stmp_ = std::make_unique<jadce::Stmp>(*transform_, std::move(loop));
    networks_ = std::move(prior.networks);
    for (const auto& network : networks_) denoisers_.push_back(jadce::network_denoiser(*transform_, *network));
    if (prior.closed_form) denoisers_.push_back(jadce::gaussian_denoiser(*transform_));
  } else {
    gpu_ = jadce::Gpu::plan({shape_, rows, pilots.rotated, prior, loop, merge, c.network != JADCE_NETWORK_FP32});
    found_.resize(at(most_));
    active_.resize(at(most_));
  }
  images_ = c.pilot_rows != nullptr
                ? std::make_unique<jadce::Images>(c.pilot_rows, shape_)
                : std::make_unique<jadce::Images>(reinterpret_cast<const cfloat*>(c.pilots), shape_);
  search_ = std::make_unique<jadce::ImageSearch>(*images_, most_);
  for (auto& seen : seen_) seen.resize(at(shape_.subcarriers * shape_.antennas));
  staged_.resize(at(shape_.measurements() * shape_.antennas));
  var_.resize(at(most_));
  workspace_ = jadce::floats_taken - before + 2 * static_cast<index_t>(staged_.size());
}

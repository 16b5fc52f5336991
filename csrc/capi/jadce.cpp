// The C API, include/jadce/jadce.h: checks, plans, copies; what is computed is the receiver's.
#include <jadce/jadce.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "capi/pilots.hpp"
#include "capi/prior.hpp"
#include "capi/processors.hpp"
#include "core/bfloat16.hpp"
#include "receiver/denoisers.hpp"
#include "receiver/images.hpp"
#include "receiver/layout.hpp"
#include "receiver/plan.hpp"
#include "receiver/stmp.hpp"

namespace {

using jadce::cfloat;
using jadce::index_t;

constexpr double kLeast = 1e-30, kMost = 1e30;  // of powers and variances

thread_local std::string last_error;  // NOLINT: empty at first, which takes no memory

std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument(what); }

void need(bool fits, const char* name, const char* expected, double found) {
  if (fits) return;
  char number[32];
  std::snprintf(number, sizeof number, "%.9g", found);
  refuse(std::string(name) + ": expected " + expected + ", found " + number);
}

void need_range(const char* name, index_t value, index_t least, index_t most) {
  if (value < least || value > most)
    refuse(std::string(name) + ": expected " + std::to_string(least) + " to " + std::to_string(most) + ", found " +
           std::to_string(value));
}

// Runs f, and makes a status and a message of what it throws.
template <class F>
int guarded(F f) noexcept {
  const auto fail = [](int status, const char* what) {
    try {
      last_error = what;
    } catch (...) {
      last_error.clear();
    }
    return status;
  };
  try {
    f();
    return JADCE_OK;
  } catch (const std::invalid_argument& error) {
    return fail(JADCE_ERROR_ARGUMENT, error.what());
  } catch (const jadce::FileError& error) {
    return fail(JADCE_ERROR_FILE, error.what());
  } catch (const jadce::Unsupported& error) {
    return fail(JADCE_ERROR_UNSUPPORTED, error.what());
  } catch (const std::bad_alloc&) {
    return fail(JADCE_ERROR_MEMORY, "memory: there is not enough for this plan");
  } catch (const std::length_error&) {
    return fail(JADCE_ERROR_MEMORY, "memory: there is not enough for this plan");
  } catch (const std::runtime_error& error) {  // of the pool of threads
    return fail(JADCE_ERROR_MEMORY, error.what());
  } catch (const std::exception& error) {
    return fail(JADCE_ERROR_INTERNAL, error.what());
  } catch (...) {
    return fail(JADCE_ERROR_INTERNAL, "an exception of unknown type");
  }
}

void check(const jadce_config& c) {
  need_range("devices", c.devices, 1, 1 << 24);
  need_range("subcarriers", c.subcarriers, 1, 1 << 20);
  need_range("symbols", c.symbols, 1, c.devices);
  need_range("antennas", c.antennas, 1, 4096);
  if (c.prior == nullptr) refuse("prior: expected the name of a file or \"gaussian\", found NULL");
  if ((c.pilot_rows == nullptr) == (c.pilots == nullptr))
    refuse(std::string("pilots: expected pilot_rows or pilots, found ") + (c.pilots ? "both" : "none"));
  need(c.pilot_power >= kLeast && c.pilot_power <= kMost, "pilot_power", "1e-30 to 1e30", c.pilot_power);
  need(c.activity_rate == 0 || (c.activity_rate >= 1e-12 && c.activity_rate <= 1 - 1e-12), "activity_rate",
       "0 or a number between 0 and 1", c.activity_rate);
  need(c.power == 0 || (c.power >= kLeast && c.power <= kMost), "power", "0 or 1e-30 to 1e30", c.power);
  need(c.threshold >= 0 && c.threshold <= 1, "threshold", "0 to 1", c.threshold);
  need_range("max_iterations", c.max_iterations, 0, INT32_MAX);
  need_range("capacity", c.capacity, 0, INT32_MAX);
  need_range("threads", c.threads, 0, jadce::kMostThreads);
  need_range("network", c.network, JADCE_NETWORK_AUTO, JADCE_NETWORK_FP32);
}

// Checks DFT rows [T, N]: in range, and distinct over symbols on every subcarrier.
void check_rows(const std::int32_t* rows, const jadce::Shape& s) {
  std::vector<std::int32_t> column(at(s.symbols));
  for (index_t n = 0; n < s.subcarriers; ++n) {
    for (index_t t = 0; t < s.symbols; ++t) {
      need_range("pilot_rows", rows[t * s.subcarriers + n], 0, s.devices - 1);
      column[at(t)] = rows[t * s.subcarriers + n];
    }
    std::sort(column.begin(), column.end());
    if (std::adjacent_find(column.begin(), column.end()) != column.end())
      refuse("pilot_rows: expected distinct rows on every subcarrier, found one twice on subcarrier " +
             std::to_string(n));
  }
}

// What a Transform is planned with.
struct PlannedPilots {
  std::vector<std::int32_t> rows;  // [N, T] of a partial DFT, or
  jadce::RotatedPilots rotated;
  std::vector<double> amplitude;  // [K]
};

PlannedPilots plan_pilots(const jadce_config& c, const jadce::Shape& s, int threads) {
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
    out.amplitude = jadce::amplitudes(pilots, s.measurements(), s.devices);
    if (hindrance.empty()) out.rotated = jadce::rotated_pilots(pilots, s, out.amplitude, threads);
  }
  if (!hindrance.empty())
    throw jadce::Unsupported("pilots: expected " + hindrance + "; the Python package plans with such devices");
  return out;
}

// How many beam powers are too many depends on the powers of devices, so the prior's file is refused here.
jadce::ActivityPlan planned_activity(const jadce_config& c, const jadce::Mixture& beams,
                                     const std::vector<double>& amplitude) try {
  return jadce::receiver_activity(beams, amplitude, c.antennas, c.power > 0);
} catch (const std::invalid_argument& error) {
  throw jadce::FileError(std::string("prior: expected fewer beam powers, found '") + c.prior + "', " + error.what());
}

}  // namespace

struct jadce_plan {
 public:
  explicit jadce_plan(const jadce_config& c)
      : jadce_plan(c, {c.devices, c.subcarriers, c.symbols, c.antennas, 0, jadce::padded(c.antennas)},
                   c.threads > 0 ? c.threads : jadce::processors()) {}

  void query(jadce_sizes& sizes) const {
    sizes = {static_cast<std::int32_t>(shape_.devices),
             static_cast<std::int32_t>(shape_.subcarriers),
             static_cast<std::int32_t>(shape_.symbols),
             static_cast<std::int32_t>(shape_.antennas),
             static_cast<std::int32_t>(most_),
             threads_,
             workspace_ * static_cast<index_t>(sizeof(float))};
  }

  void detect(const jadce_block& block, double noise_var, jadce_result& result) {
    if (block.data == nullptr) refuse("block.data: expected samples, found NULL");
    need_range("block.format", block.format, JADCE_COMPLEX64, JADCE_BFLOAT16);
    need(std::isfinite(block.scale) && block.scale >= 0, "block.scale", "a positive number or 0", block.scale);
    need(noise_var >= kLeast && noise_var <= kMost, "noise_var", "1e-30 to 1e30", noise_var);
    if (result.channel_var != nullptr && result.channels == nullptr)
      refuse("result.channel_var: expected NULL without channels");
    const std::lock_guard<jadce::ForkMutex> alone(transform_->mutex());
    stage(block);
    stmp_->detect(staged_.data(), noise_var, white_, denoisers_);
    const jadce::Control& c = stmp_->control();
    const index_t found = stmp_->found();
    if (result.activity != nullptr) std::copy_n(stmp_->activity(), shape_.devices, result.activity);
    if (result.active != nullptr) std::copy_n(stmp_->active(), found, result.active);
    if (result.channels != nullptr)
      stmp_->channels(reinterpret_cast<cfloat*>(result.channels),
                      result.channel_var != nullptr ? result.channel_var : var_.data());
    const auto* const given = reinterpret_cast<const cfloat*>(result.channels);
    result.found = static_cast<std::int32_t>(found);
    const auto channel_of = [this, given](index_t i, int place) {
      return given != nullptr ? given + i * shape_.subcarriers * shape_.antennas : channel(i, place);
    };
    result.trusted = c.trusted && stmp_->tone() < 0 && !search_->find(stmp_->active(), found, channel_of);
    result.converged = c.converged;
    result.iterations = c.iteration;
    result.stopped = c.stopped;
    result.overflow = c.kept_left_out;
    result.noise_var = stmp_->remaining();
    result.residual_ratio = result.noise_var / noise_var;
    result.least = c.least;
    result.most = c.most;
  }

 private:
  jadce_plan(const jadce_config& c, jadce::Shape shape, int threads) : shape_(shape), threads_(threads) {
    const index_t before = jadce::floats_taken;
    const bool bf16 = c.network == JADCE_NETWORK_BF16 || (c.network == JADCE_NETWORK_AUTO && jadce::table().fast_bf16);
    jadce::Prior prior = jadce::load_prior(c.prior, c.subcarriers, bf16);
    shape_.coefficients = static_cast<index_t>(prior.beams.eigenvalue.size());
    PlannedPilots pilots = plan_pilots(c, shape_, threads);
    const bool rows = !pilots.rows.empty();
    transform_ = std::make_unique<jadce::Transform>(
        shape_, rows ? pilots.rows.data() : nullptr, 1.0f, rows ? nullptr : pilots.rotated.array.data(),
        prior.basis.data(), jadce::merged(prior.beams.eigenvalue), !prior.closed_form, threads, nullptr);

    jadce::Rules rules;
    rules.active = static_cast<float>(c.threshold);
    rules.threshold = std::min(rules.active, rules.threshold);  // channels are estimated of candidates only
    if (c.max_iterations > 0) rules.max_iterations = c.max_iterations;
    rules = jadce::rules_of(rules, shape_.antennas, prior.beams);
    if (prior.closed_form) rules.caution = 1;
    const double rate = c.activity_rate > 0 ? c.activity_rate : jadce::kFirstRate;
    most_ = jadce::most_candidates(rules, rate, shape_.devices, c.capacity);
    const jadce::Assumed assumed = jadce::assumed(rate, c.power, pilots.amplitude);
    jadce::ActivityPlan activity = planned_activity(c, prior.beams, pilots.amplitude);
    stmp_ = std::make_unique<jadce::Stmp>(*transform_, jadce::StmpPlan{.activity = std::move(activity),
                                                                       .gram = std::move(pilots.rotated.gram),
                                                                       .rotation = std::move(pilots.rotated.rotation),
                                                                       .amplitude = std::move(pilots.amplitude),
                                                                       .capacity = most_,
                                                                       .rules = rules,
                                                                       .log_odds = static_cast<float>(assumed.log_odds),
                                                                       .learn_rate = c.activity_rate == 0,
                                                                       .power = assumed.power,
                                                                       .expected = assumed.expected});
    networks_ = std::move(prior.networks);
    for (const auto& network : networks_) denoisers_.push_back(jadce::network_denoiser(*transform_, *network));
    if (prior.closed_form) denoisers_.push_back(jadce::gaussian_denoiser(*transform_));
    images_ = c.pilot_rows != nullptr
                  ? std::make_unique<jadce::Images>(c.pilot_rows, shape_)
                  : std::make_unique<jadce::Images>(reinterpret_cast<const cfloat*>(c.pilots), shape_);
    search_ = std::make_unique<jadce::ImageSearch>(*images_, most_);
    for (auto& seen : seen_) seen.resize(at(shape_.subcarriers * shape_.antennas));
    staged_.resize(at(shape_.measurements() * shape_.antennas));
    var_.resize(at(most_));
    workspace_ = jadce::floats_taken - before + 2 * static_cast<index_t>(staged_.size());
  }

  // A channel that the caller has no memory for.
  const cfloat* channel(index_t i, int place) {
    cfloat* const out = seen_[at(place)].data();
    stmp_->channel(i, 0, out);
    return out;
  }

  // The block as [T, N, M] in single precision, which has to be finite.
  void stage(const jadce_block& block) {
    const float scale = block.scale > 0 ? block.scale : 1.0f;
    if (block.format == JADCE_COMPLEX64) {
      stage(block, [&, in = static_cast<const float*>(block.data)](index_t i) { return scale * in[i]; });
    } else if (block.format == JADCE_INT16) {
      stage(block, [&, in = static_cast<const std::int16_t*>(block.data)](index_t i) {
        return scale * static_cast<float>(in[i]);
      });
    } else {
      stage(block, [&, in = static_cast<const std::uint16_t*>(block.data)](index_t i) {
        return scale * jadce::from_bfloat16(in[i]);
      });
    }
  }

  template <class Read>
  void stage(const jadce_block& block, Read read) {
    const std::int64_t* const given = block.strides;
    const bool plain = given[0] == 0 && given[1] == 0 && given[2] == 0;
    const index_t step[3] = {plain ? shape_.subcarriers * shape_.antennas : given[0],
                             plain ? shape_.antennas : given[1], plain ? 1 : given[2]};
    cfloat* out = staged_.data();
    float nothing = 0;  // stays zero unless a number is not finite
    for (index_t t = 0; t < shape_.symbols; ++t)
      for (index_t n = 0; n < shape_.subcarriers; ++n) {
        const index_t first = t * step[0] + n * step[1];
        for (index_t m = 0; m < shape_.antennas; ++m) {
          const index_t i = 2 * (first + m * step[2]);
          const float real = read(i), imag = read(i + 1);
          nothing += 0 * real + 0 * imag;
          *out++ = {real, imag};
        }
      }
    if (nothing != 0) refuse("block: expected finite numbers, found NaN or an infinite one");
  }

  jadce::Shape shape_;
  int threads_;
  index_t most_ = 0, workspace_ = 0;
  std::unique_ptr<jadce::Transform> transform_;
  std::unique_ptr<jadce::Stmp> stmp_;
  std::vector<std::unique_ptr<jadce::BeamNetwork>> networks_;
  std::vector<jadce::Denoiser> denoisers_;
  jadce::NoiseCovariance white_;
  std::unique_ptr<jadce::Images> images_;
  std::unique_ptr<jadce::ImageSearch> search_;
  std::array<std::vector<cfloat>, 2> seen_;  // [N, M] channels that are compared
  std::vector<cfloat> staged_;               // [T, N, M]
  std::vector<float> var_;                   // [most_active]
};

extern "C" {

const char* jadce_version(void) { return JADCE_VERSION; }

const char* jadce_error_string(int status) {
  switch (status) {
    case JADCE_OK:
      return "no error";
    case JADCE_ERROR_ARGUMENT:
      return "an argument is out of range or does not fit another";
    case JADCE_ERROR_FILE:
      return "a prior's file is missing, damaged, or none";
    case JADCE_ERROR_UNSUPPORTED:
      return "the Python package does it, this library does not";
    case JADCE_ERROR_MEMORY:
      return "there is not enough memory, or no thread to be had";
    case JADCE_ERROR_INTERNAL:
      return "a fault of the library";
    default:
      return "no status of this library";
  }
}

const char* jadce_last_error(void) { return last_error.c_str(); }

void jadce_config_init(jadce_config* config) {
  if (config == nullptr) return;
  *config = jadce_config{};
  config->pilot_power = 1;
  config->activity_rate = jadce::kFirstRate;
  config->threshold = 0.5;
}

int jadce_create(const jadce_config* config, jadce_plan** plan) {
  return guarded([&] {
    if (config == nullptr || plan == nullptr)
      refuse("jadce_create: expected a config and a place for a plan, found NULL");
    check(*config);
    *plan = std::make_unique<jadce_plan>(*config).release();
  });
}

int jadce_query(const jadce_plan* plan, jadce_sizes* sizes) {
  return guarded([&] {
    if (plan == nullptr || sizes == nullptr) refuse("jadce_query: expected a plan and sizes, found NULL");
    plan->query(*sizes);
  });
}

int jadce_detect(jadce_plan* plan, const jadce_block* block, double noise_var, jadce_result* result) {
  return guarded([&] {
    if (plan == nullptr || block == nullptr || result == nullptr)
      refuse("jadce_detect: expected a plan, a block and a result, found NULL");
    plan->detect(*block, noise_var, *result);
  });
}

void jadce_destroy(jadce_plan* plan) { delete plan; }

}  // extern "C"

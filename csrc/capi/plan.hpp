// A plan of the C API: pilots, prior, loop and memory, on processors or on a GPU.
#pragma once

#include <jadce/jadce.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "capi/check.hpp"
#include "capi/gpu.hpp"
#include "capi/pilots.hpp"
#include "capi/prior.hpp"
#include "capi/processors.hpp"
#include "core/bfloat16.hpp"
#include "core/fork_mutex.hpp"
#include "receiver/denoisers.hpp"
#include "receiver/images.hpp"
#include "receiver/layout.hpp"
#include "receiver/plan.hpp"
#include "receiver/stmp.hpp"

struct jadce_plan {
 private:
  using index_t = jadce::index_t;
  using cfloat = jadce::cfloat;
  static std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

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
             workspace_ * static_cast<index_t>(sizeof(float)),
             gpu_ ? gpu_->memory() : 0};
  }

  void detect(const jadce_block& block, double noise_var, jadce_result& result) {
    if (block.data == nullptr) jadce::refuse("block.data: expected samples, found NULL");
    jadce::need_range("block.format", block.format, JADCE_COMPLEX64, JADCE_BFLOAT16);
    jadce::need(std::isfinite(block.scale) && block.scale >= 0, "block.scale", "a positive number or 0", block.scale);
    jadce::need(noise_var >= jadce::kLeast && noise_var <= jadce::kMost, "noise_var", "1e-30 to 1e30", noise_var);
    if (result.channel_var != nullptr && result.channels == nullptr)
      jadce::refuse("result.channel_var: expected NULL without channels");
    const std::lock_guard<jadce::ForkMutex> alone(mutex_);
    stage(block);
    if (gpu_) {
      gpu_->enqueue_copy(staged_.data(), noise_var);
      collect(result);
      return;
    }
    stmp_->detect(staged_.data(), noise_var, white_, denoisers_);
    const index_t found = stmp_->found();
    if (result.activity != nullptr) std::copy_n(stmp_->activity(), shape_.devices, result.activity);
    if (result.active != nullptr) std::copy_n(stmp_->active(), found, result.active);
    if (result.channels != nullptr)
      stmp_->channels(reinterpret_cast<cfloat*>(result.channels),
                      result.channel_var != nullptr ? result.channel_var : var_.data());
    const bool plain = stmp_->tone() < 0;
    tell(stmp_->control(), stmp_->remaining(), noise_var, stmp_->active(), result);
    result.trusted = result.trusted && plain;
  }

  void enqueue(const jadce_block& block, double noise_var, void* stream) {
    need_gpu("jadce_enqueue");
    if (block.data == nullptr) jadce::refuse("block.data: expected samples in device memory, found NULL");
    jadce::need(noise_var >= jadce::kLeast && noise_var <= jadce::kMost, "noise_var", "1e-30 to 1e30", noise_var);
    const std::int64_t* const given = block.strides;
    const std::int64_t step[3] = {shape_.subcarriers * shape_.antennas, shape_.antennas, 1};
    const bool plain = std::all_of(given, given + 3, [](std::int64_t i) { return i == 0; });
    if (block.format != JADCE_COMPLEX64 || !(block.scale == 0 || block.scale == 1) ||
        !(plain || std::equal(given, given + 3, step)))
      throw jadce::Unsupported("block: expected complex64 [T, N, M] without a scale for a GPU, found another form");
    const std::lock_guard<jadce::ForkMutex> alone(mutex_);
    gpu_->enqueue(static_cast<const cfloat*>(block.data), noise_var, stream);
  }

  void wait(jadce_result& result) {
    need_gpu("jadce_wait");
    const std::lock_guard<jadce::ForkMutex> alone(mutex_);
    collect(result);
  }

  void on_device(jadce_device_result& result) const {
    need_gpu("jadce_on_device");
    const jadce::Gpu::Results& r = gpu_->results();
    result = {r.activity,    r.active,          reinterpret_cast<const float*>(r.channels),
              r.channel_var, &r.control->found, &r.control->trusted};
  }

 private:
  jadce_plan(const jadce_config& c, jadce::Shape shape, int threads);

  void need_gpu(const char* call) const {
    if (!gpu_) throw jadce::Unsupported(std::string(call) + ": expected a plan with device = JADCE_CUDA");
  }

  // Numbers of a result, and whether it is trusted, from how the loop ended.
  void tell(const jadce::Control& c, double remaining, double noise_var, const std::int32_t* active,
            jadce_result& result) {
    const auto* const given = reinterpret_cast<const cfloat*>(result.channels);
    const auto channel_of = [this, given](index_t i, int place) {
      return given != nullptr ? given + i * shape_.subcarriers * shape_.antennas : channel(i, place);
    };
    result.found = c.found;
    result.trusted = c.trusted && !search_->find(active, c.found, channel_of);
    result.converged = c.converged;
    result.iterations = c.iteration;
    result.stopped = c.stopped;
    result.overflow = c.kept_left_out;
    result.noise_var = remaining;
    result.residual_ratio = remaining / noise_var;
    result.least = c.least;
    result.most = c.most;
  }

  // The result of a GPU's last detection.
  void collect(jadce_result& result) {
    if (result.channel_var != nullptr && result.channels == nullptr)
      jadce::refuse("result.channel_var: expected NULL without channels");
    const jadce::Control* const c = gpu_->wait();
    if (c == nullptr) jadce::refuse("jadce_wait: expected a detection that was enqueued before, found none");
    if (!std::isfinite(c->received)) jadce::refuse("block: expected finite numbers, found NaN or an infinite one");
    const jadce::Gpu::Results& r = gpu_->results();
    const auto copy = [this]<class T>(void* to, const T* from, index_t count) {
      if (to != nullptr && count > 0) gpu_->copy(to, from, count * static_cast<index_t>(sizeof(T)));
    };
    const index_t found = c->found;
    copy(found_.data(), r.active, found);
    std::transform(found_.begin(), found_.begin() + found, active_.begin(),
                   [](std::int64_t k) { return static_cast<std::int32_t>(k); });
    if (result.active != nullptr) std::copy_n(active_.data(), found, result.active);
    copy(result.activity, r.activity, shape_.devices);
    copy(result.channels, r.channels, found * shape_.subcarriers * shape_.antennas);
    copy(result.channel_var, r.channel_var, found);
    const double power = static_cast<double>(c->power);
    tell(*c, static_cast<double>(found > 0 ? c->residual : c->received) * power, power * static_cast<double>(c->noise),
         active_.data(), result);
  }

  // A channel that the caller has no memory for.
  const cfloat* channel(index_t i, int place) {
    cfloat* const out = seen_[at(place)].data();
    const index_t size = shape_.subcarriers * shape_.antennas;
    if (gpu_)
      gpu_->copy(out, gpu_->results().channels + i * size, size * static_cast<index_t>(sizeof(cfloat)));
    else
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
    if (nothing != 0) jadce::refuse("block: expected finite numbers, found NaN or an infinite one");
  }

  jadce::ForkMutex mutex_;
  jadce::Shape shape_;
  int threads_;
  std::unique_ptr<jadce::Gpu> gpu_;  // null: on processors
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
  std::vector<std::int64_t> found_;          // [most_active] of a GPU
  std::vector<std::int32_t> active_;         // [most_active] the same
};

// libjadce for C++17: a plan that destroys itself, memory for its results, and errors as exceptions.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <vector>

#include "jadce/jadce.h"

namespace jadce {

struct Error : std::runtime_error {
  explicit Error(int s) : std::runtime_error(jadce_last_error()), status(s) {}
  int status;  // a jadce_status
};

// The result of one detection: the first numbers.found entries of `active`, `channels` and `channel_var` are valid.
struct Detection {
  std::vector<float> activity;                // [K]
  std::vector<std::int32_t> active;           // [most_active]
  std::vector<std::complex<float>> channels;  // [most_active, N, M]
  std::vector<float> channel_var;             // [most_active]
  jadce_result numbers{};
};

class Receiver {
 public:
  explicit Receiver(const jadce_config& config) {
    jadce_plan* plan = nullptr;
    check(jadce_create(&config, &plan));
    plan_.reset(plan);
    check(jadce_query(plan, &sizes_));
    const auto size = [](auto n) { return static_cast<std::size_t>(n); };
    const std::size_t most = size(sizes_.most_active);
    result_.activity.resize(size(sizes_.devices));
    result_.active.resize(most);
    result_.channels.resize(most * size(sizes_.subcarriers) * size(sizes_.antennas));
    result_.channel_var.resize(most);
  }

  const jadce_sizes& sizes() const { return sizes_; }

  // The result lies in the receiver and is overwritten by its next call: one receiver serves one thread.
  const Detection& detect(const jadce_block& block, double noise_var) {
    check(jadce_detect(plan_.get(), &block, noise_var, &room()));
    return result_;
  }
  // The block y [T, N, M].
  const Detection& detect(const std::complex<float>* y, double noise_var) {
    return detect(jadce_block{y, JADCE_COMPLEX64, 1, {0, 0, 0}}, noise_var);
  }
  // On a GPU: jadce_enqueue, and jadce_wait for its result.
  void enqueue(const jadce_block& block, double noise_var, void* stream) {
    check(jadce_enqueue(plan_.get(), &block, noise_var, stream));
  }
  const Detection& wait() {
    check(jadce_wait(plan_.get(), &room()));
    return result_;
  }

 private:
  jadce_result& room() {
    Detection& r = result_;
    r.numbers.activity = r.activity.data();
    r.numbers.active = r.active.data();
    r.numbers.channels = reinterpret_cast<float*>(r.channels.data());
    r.numbers.channel_var = r.channel_var.data();
    return r.numbers;
  }
  struct Destroy {
    void operator()(jadce_plan* plan) const { jadce_destroy(plan); }
  };
  static void check(int status) {
    if (status != JADCE_OK) throw Error(status);
  }

  std::unique_ptr<jadce_plan, Destroy> plan_;
  jadce_sizes sizes_{};
  Detection result_;
};

}  // namespace jadce

#include "receiver/langevin.hpp"

#include <algorithm>

#include "receiver/layout.hpp"

namespace jadce {

Langevin::Langevin(const cfloat* rotation, index_t devices, index_t antennas, index_t chains, int threads,
                   const char* isa)
    : kernels_(table(isa)),
      pool_(threads),
      chains_(chains),
      view_{devices, antennas, padded(antennas), (devices + 3) / 4 * 4, nullptr, nullptr} {
  const index_t n = devices, p = view_.padded;
  forward_ = floats(2 * n * p);
  backward_ = floats(2 * n * p);
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j < n; ++j) {
      const cfloat u = rotation[i * n + j];
      const auto to = static_cast<std::size_t>(2 * i * p + j), back = static_cast<std::size_t>(2 * j * p + i);
      const auto imaginary = static_cast<std::size_t>(p);
      forward_[to] = u.real();
      forward_[to + imaginary] = u.imag();
      backward_[back] = u.real();
      backward_[back + imaginary] = -u.imag();
    }
  view_.forward = forward_.get();
  view_.backward = backward_.get();
  y_ = floats(view_.chain());
  for (Floats* state : {&rotated_, &columns_, &mean_, &sums_}) *state = floats(chains * view_.chain());
  for (Floats* list : {&variance_, &probability_, &sum_energy_, &sum_active_}) *list = floats(chains * devices);
}

void Langevin::block(const cfloat* y) {
  for (index_t n = 0; n < view_.devices; ++n)
    for (index_t m = 0; m < view_.antennas; ++m) {
      const cfloat value = y[n * view_.antennas + m];
      y_[static_cast<std::size_t>(2 * n * view_.lanes + m)] = value.real();
      y_[static_cast<std::size_t>((2 * n + 1) * view_.lanes + m)] = value.imag();
    }
}

void Langevin::start(const std::vector<index_t>& chains, std::uint64_t seed, std::uint32_t step, float sigma) {
  const std::vector<float> none(static_cast<std::size_t>(view_.padded)), noise(none.size(), sigma);
  const LevelView level{none.data(), none.data(), none.data(), noise.data()};
  pool_.each(static_cast<index_t>(chains.size()), [&](index_t task, int) {
    const index_t chain = chains[static_cast<std::size_t>(task)], n = view_.devices;
    for (Floats* state : {&rotated_, &mean_, &sums_})
      std::fill_n(state->get() + chain * view_.chain(), view_.chain(), 0.0f);
    for (Floats* list : {&sum_energy_, &sum_active_}) std::fill_n(list->get() + chain * n, n, 0.0f);
    advance(chain, seed, step, level);
  });
}

void Langevin::anneal(const std::vector<index_t>& chains, std::uint64_t seed, std::uint32_t step, index_t steps,
                      const LevelView& level, const MixtureView& mixture, bool accumulate) {
  pool_.each(static_cast<index_t>(chains.size()), [&](index_t task, int) {
    const index_t chain = chains[static_cast<std::size_t>(task)];
    for (index_t i = 0; i < steps; ++i) {
      kernels_.cell_denoise(view_, mixture, columns_.get() + chain * view_.chain(), posterior(chain));
      if (accumulate) add(chain);
      advance(chain, seed, step + static_cast<std::uint32_t>(i), level);
    }
  });
}

void Langevin::step(const std::vector<index_t>& chains, std::uint64_t seed, std::uint32_t step,
                    const LevelView& level) {
  pool_.each(static_cast<index_t>(chains.size()),
             [&](index_t task, int) { advance(chains[static_cast<std::size_t>(task)], seed, step, level); });
}

void Langevin::denoise(const std::vector<index_t>& chains, const MixtureView& mixture) {
  pool_.each(static_cast<index_t>(chains.size()), [&](index_t task, int) {
    const index_t chain = chains[static_cast<std::size_t>(task)];
    kernels_.cell_denoise(view_, mixture, columns_.get() + chain * view_.chain(), posterior(chain));
  });
}

void Langevin::advance(index_t chain, std::uint64_t seed, std::uint32_t step, const LevelView& level) {
  const index_t at = chain * view_.chain();
  kernels_.langevin_step(view_, level, {seed, static_cast<std::uint32_t>(chain), step}, y_.get(), mean_.get() + at,
                         rotated_.get() + at, columns_.get() + at);
}

PosteriorView Langevin::posterior(index_t chain) {
  return {mean_.get() + chain * view_.chain(), variance_.get() + chain * view_.devices,
          probability_.get() + chain * view_.devices};
}

void Langevin::add(index_t chain) {
  const PosteriorView p = posterior(chain);
  float* sums = sums_.get() + chain * view_.chain();
  const index_t column = 2 * view_.lanes;
  for (index_t n = 0; n < view_.devices; ++n) {
    float energy = 0;
    for (index_t i = n * column; i < (n + 1) * column; ++i) {
      sums[i] += p.mean[i];
      energy += p.mean[i] * p.mean[i];
    }
    sum_energy_[static_cast<std::size_t>(chain * view_.devices + n)] +=
        energy / static_cast<float>(view_.antennas) + p.variance[n];
    sum_active_[static_cast<std::size_t>(chain * view_.devices + n)] += p.probability[n];
  }
}

}  // namespace jadce

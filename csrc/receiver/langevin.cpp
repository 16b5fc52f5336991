#include "receiver/langevin.hpp"

#include <algorithm>
#include <utility>

#include "receiver/layout.hpp"

namespace jadce {

namespace {

constexpr index_t kWorkspace = index_t{1} << 24;  // floats for the matrices of levels

// target += scale source, or target = scale source.
void add_scaled(index_t count, float scale, const float* source, float* target, bool first) {
  if (first) {
    for (index_t i = 0; i < count; ++i) target[i] = scale * source[i];
  } else if (scale != 0.0f) {
    for (index_t i = 0; i < count; ++i) target[i] += scale * source[i];
  }
}

}  // namespace

Langevin::Langevin(const LangevinPlan& plan)
    : kernels_(table(plan.isa)),
      pool_(plan.threads),
      chains_(plan.chains),
      shape_{plan.devices, plan.antennas, padded(plan.antennas), padded(plan.devices)},
      singular_(plan.singular, plan.singular + plan.devices),
      counting_(static_cast<std::size_t>(chains_ * plan.devices)),
      counted_(static_cast<std::size_t>(chains_)) {
  const index_t n = plan.devices, p = shape_.padded;
  vectors_ = floats(2 * n * p);  // u_j as [2, Kp]
  forward_ = floats(2 * n * p);
  back_ = floats(2 * n * p);
  const Floats forward = floats(2 * n * p), back = floats(2 * n * p);
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j < n; ++j) {
      const cfloat u = plan.rotation[i * n + j];
      for (const auto& [at, table] : {std::pair(2 * j * p + i, vectors_.get()), std::pair(2 * i * p + j, forward.get()),
                                      std::pair(2 * j * p + i, back.get())}) {
        table[at] = u.real();
        table[at + p] = table == back.get() ? -u.imag() : u.imag();
      }
    }
  kernels_.pack(shape_, forward.get(), forward_.get());
  kernels_.pack(shape_, back.get(), back_.get());
  scratch_ = floats(pool_.size() * 7 * n * kernels_.width);
  force_ = floats(shape_.chain());
  for (Floats* state : {&columns_, &mean_, &sums_}) *state = floats(chains_ * shape_.chain());
  for (Floats* list : {&energy_, &gain_, &variance_, &probability_, &sum_energy_, &sum_active_})
    *list = floats(chains_ * p);
}

void Langevin::plan(std::vector<Level> levels) {
  if (levels.size() != levels_.size()) {
    const auto count = static_cast<index_t>(levels.size());
    room_ = std::clamp(kWorkspace / (2 * shape_.matrix()), index_t{1}, count);
    matrices_ = floats(room_ * 2 * shape_.matrix());
    packed_ = floats(room_ * 2 * shape_.matrix());
    pull_ = floats(count * shape_.padded);
    force_ = floats((count + 1) * shape_.chain());  // the last one stays silent
  }
  levels_ = std::move(levels);
  prepared_ = 0;
  for (index_t l = 0; l < this->levels(); ++l) {
    const Level& level = levels_[static_cast<std::size_t>(l)];
    for (index_t j = level.known; j < shape_.devices; ++j) {
      const float s = singular_[static_cast<std::size_t>(j)];
      pull_[static_cast<std::size_t>(l * shape_.padded + j)] = level.matrix[0] + level.matrix[2] * s * s;
    }
  }
}

void Langevin::prepare(index_t wanted) {
  if (wanted >= first_ && wanted < first_ + prepared_) return;
  const index_t size = shape_.matrix(), n = shape_.devices;
  const auto level = [&](index_t l) -> const Level& { return levels_[static_cast<std::size_t>(l)]; };
  const auto vector = [&](index_t j) { return vectors_.get() + 2 * j * shape_.padded; };
  const auto squared = [&](index_t j) {
    const float s = singular_[static_cast<std::size_t>(j)];
    return s * s;
  };
  if (prepared_ == 0 || wanted < first_) {
    rest_ = floats(size);
    from_ = n;
  }
  first_ = wanted;
  prepared_ = std::min(room_, levels() - wanted);
  const auto at = [&](index_t l) { return matrices_.get() + 2 * (l - first_) * size; };
  // Sums over j >= known grow from level to level, those over j < known in the opposite order: no differences.
  for (index_t l = first_; l < first_ + prepared_; ++l) {
    for (; from_ > level(l).known; --from_)
      if (squared(from_ - 1) > 0.0f) kernels_.add_outer(shape_, squared(from_ - 1), vector(from_ - 1), rest_.get());
    add_scaled(size, level(l).matrix[2], rest_.get(), at(l), true);
    add_scaled(size, level(l).covariance[2], rest_.get(), at(l) + size, true);
  }
  const Floats known = floats(size), inverse = floats(size);
  index_t to = 0;
  for (index_t l = first_ + prepared_; l-- > first_;) {
    for (; to < level(l).known; ++to) {
      kernels_.add_outer(shape_, 1.0f, vector(to), known.get());
      kernels_.add_outer(shape_, 1.0f / squared(to), vector(to), inverse.get());
    }
    if (to > 0) {
      add_scaled(size, level(l).matrix[1], known.get(), at(l), false);
      add_scaled(size, level(l).covariance[1], inverse.get(), at(l) + size, false);
    }
    for (index_t i = 0; i < n; ++i) {
      at(l)[2 * i * shape_.padded + i] += level(l).matrix[0];
      at(l)[size + 2 * i * shape_.padded + i] += level(l).covariance[0];
    }
  }
  pool_.each(prepared_, [&](index_t l, int) {
    float *matrix = at(first_ + l), *packed = packed_.get() + 2 * l * size;
    kernels_.pack(shape_, matrix, packed);
    if (!(level(first_ + l).covariance[0] > 0.0f)) return;
    kernels_.cholesky(shape_, matrix + size);
    kernels_.pack(shape_, matrix + size, packed + size);
  });
}

const float* Langevin::matrices(index_t level) const {
  return matrices_.get() + 2 * (level - first_) * shape_.matrix();
}

void Langevin::block(const cfloat* force) {
  const index_t columns = levels() * shape_.devices;
  for (index_t n = 0; n < columns; ++n) {
    float* to = force_.get() + 2 * n * shape_.lanes;
    for (index_t m = 0; m < shape_.antennas; ++m) {
      to[m] = force[n * shape_.antennas + m].real();
      to[shape_.lanes + m] = force[n * shape_.antennas + m].imag();
    }
  }
}

LevelView Langevin::view(index_t l) const {
  const Level& level = levels_[static_cast<std::size_t>(l)];
  const float* matrix = packed_.get() + 2 * (l - first_) * shape_.matrix();
  const float* pull = level.denoised ? pull_.get() + l * shape_.padded : nullptr;
  return {level.keep,
          level.shift,
          level.noise,
          level.denoised,
          matrix,
          level.covariance[0] > 0.0f ? matrix + shape_.matrix() : nullptr,
          force_.get() + l * shape_.chain(),
          pull,
          forward_.get(),
          back_.get(),
          level.known};
}

void Langevin::start(const Chains& chains, std::uint64_t seed, std::uint32_t step, float sigma) {
  const float* silence = force_.get() + levels() * shape_.chain();
  const LevelView level{0.0f, 0.0f, sigma, true, nullptr, nullptr, silence, nullptr, nullptr, nullptr, 0};
  pool_.each(static_cast<index_t>(chains.size()), [&](index_t task, int thread) {
    const index_t chain = chains[static_cast<std::size_t>(task)], p = shape_.padded;
    for (Floats* state : {&columns_, &mean_, &sums_})
      std::fill_n(state->get() + chain * shape_.chain(), shape_.chain(), 0.0f);
    for (Floats* list : {&sum_energy_, &sum_active_}) std::fill_n(list->get() + chain * p, p, 0.0f);
    advance(chain, {seed, static_cast<std::uint32_t>(chain), step}, level, {nullptr, nullptr, nullptr, 0}, thread);
  });
}

void Langevin::anneal(const Chains& chains, Steps steps, const MixtureView& mixture, bool accumulate) {
  prepare(steps.level);
  const LevelView level = view(steps.level);
  pool_.each(static_cast<index_t>(chains.size()), [&](index_t task, int thread) {
    const index_t chain = chains[static_cast<std::size_t>(task)];
    float* gain = gain_.get() + chain * shape_.padded;
    std::int32_t* counting = counting_.data() + chain * shape_.devices;
    for (index_t i = 0; i < steps.count; ++i) {
      index_t count = 0;
      if (accumulate || !level.denoised) {
        denoise(chain, mixture);
        if (accumulate) add(chain);
      }
      if (level.denoised) count = kernels_.counting_columns(shape_, mixture, energy(chain), gain, counting);
      const NoiseKey key{steps.seed, static_cast<std::uint32_t>(chain), steps.first + static_cast<std::uint32_t>(i)};
      advance(chain, key, level, {nullptr, gain, counting, count}, thread);
    }
  });
}

void Langevin::step(const Chains& chains, Steps one, float noise_var) {
  prepare(one.level);
  const LevelView level = view(one.level);
  const float least = least_energy(shape_.antennas, noise_var);
  pool_.each(static_cast<index_t>(chains.size()), [&](index_t task, int thread) {
    const index_t chain = chains[static_cast<std::size_t>(task)], column = 2 * shape_.lanes;
    const float* mean = mean_.get() + chain * shape_.chain();
    std::int32_t* counting = counting_.data() + chain * shape_.devices;
    index_t count = 0;
    for (index_t n = 0; n < shape_.devices; ++n) {
      float total = 0;
      for (index_t i = n * column; i < (n + 1) * column; ++i) total += mean[i] * mean[i];
      if (!(total <= least)) counting[count++] = static_cast<std::int32_t>(n);
    }
    const NoiseKey key{one.seed, static_cast<std::uint32_t>(chain), one.first};
    advance(chain, key, level, {mean, nullptr, counting, count}, thread);
  });
}

void Langevin::denoise(const Chains& chains, const MixtureView& mixture) {
  pool_.each(static_cast<index_t>(chains.size()), [&](index_t task, int) {
    const index_t chain = chains[static_cast<std::size_t>(task)], column = 2 * shape_.lanes;
    const float* x = columns_.get() + chain * shape_.chain();
    for (index_t n = 0; n < shape_.devices; ++n) {
      float total = 0;
      for (index_t i = n * column; i < (n + 1) * column; ++i) total += x[i] * x[i];
      energy_[static_cast<std::size_t>(chain * shape_.padded + n)] = total;
    }
    denoise(chain, mixture);
  });
}

void Langevin::advance(index_t chain, NoiseKey key, const LevelView& level, DenoisedView d, int thread) {
  counted_[static_cast<std::size_t>(chain)] = static_cast<std::int32_t>(level.denoised ? d.count : shape_.devices);
  kernels_.langevin_step(shape_, level, key, d,
                         {columns_.get() + chain * shape_.chain(), energy_.get() + chain * shape_.padded,
                          scratch_.get() + thread * 7 * shape_.devices * kernels_.width});
}

// Mean, variance and probability of all columns, also of those that do not count.
void Langevin::denoise(index_t chain, const MixtureView& mixture) {
  const index_t list = chain * shape_.padded, column = 2 * shape_.lanes;
  kernels_.column_posterior(shape_, mixture, energy(chain), gain_.get() + list, variance_.get() + list,
                            probability_.get() + list);
  const float* x = columns_.get() + chain * shape_.chain();
  float* mean = mean_.get() + chain * shape_.chain();
  for (index_t n = 0; n < shape_.devices; ++n) {
    const float gain = gain_[static_cast<std::size_t>(list + n)];
    for (index_t i = n * column; i < (n + 1) * column; ++i) mean[i] = gain * x[i];
  }
}

void Langevin::add(index_t chain) {
  const float* mean = mean_.get() + chain * shape_.chain();
  float* sums = sums_.get() + chain * shape_.chain();
  const index_t column = 2 * shape_.lanes;
  for (index_t n = 0; n < shape_.devices; ++n) {
    float total = 0;
    for (index_t i = n * column; i < (n + 1) * column; ++i) {
      sums[i] += mean[i];
      total += mean[i] * mean[i];
    }
    const auto at = static_cast<std::size_t>(chain * shape_.padded + n);
    sum_energy_[at] += total / static_cast<float>(shape_.antennas) + variance_[at];
    sum_active_[at] += probability_[at];
  }
}

std::vector<double> Langevin::power(const Chains& chains) const {
  std::vector<double> result;
  for (const index_t chain : chains) {
    double total = 0;
    for (index_t n = 0; n < shape_.devices; ++n) total += static_cast<double>(energy(chain)[n]);
    result.push_back(total / static_cast<double>(shape_.devices * shape_.antennas));
  }
  return result;
}

double Langevin::spread(const Chains& chains) const {
  if (chains.empty()) return 0;
  const auto count = static_cast<float>(chains.size());
  std::vector<float> mean(static_cast<std::size_t>(shape_.chain())), square(mean.size());
  for (const index_t chain : chains) {
    const float* x = columns_.get() + chain * shape_.chain();
    for (std::size_t i = 0; i < mean.size(); ++i) mean[i] += x[i] / count;
  }
  for (const index_t chain : chains) {
    const float* x = columns_.get() + chain * shape_.chain();
    for (std::size_t i = 0; i < mean.size(); ++i) square[i] += (x[i] - mean[i]) * (x[i] - mean[i]);
  }
  double total = 0;
  for (const float s : square) total += static_cast<double>(s);
  return total / static_cast<double>(count) / static_cast<double>(shape_.devices * shape_.antennas);
}

}  // namespace jadce

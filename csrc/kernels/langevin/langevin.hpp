// Annealed Langevin dynamics for Y = X P + Z (docs/langevin.md), and the exact posterior of columns of X.
#pragma once

#include "kernels/langevin/noise.hpp"

namespace jadce {

// On the CPU columns are [K, 2, Mp], numbers of columns [Kp], matrices [K, 2, Kp] or, for products, packed as
// [Kp / kColumns, K, 2, kColumns] (langevin_tables.cpp).
struct ChainShape {
  index_t devices;   // K
  index_t antennas;  // M
  index_t lanes;     // Mp
  index_t padded;    // Kp, K rounded up to a multiple of 16

  JADCE_INLINE index_t chain() const { return 2 * devices * lanes; }    // floats of one chain
  JADCE_INLINE index_t matrix() const { return 2 * devices * padded; }  // floats of one matrix
};

// One step of one level, X <- keep X + shift D + V matrix + force + noise, with D the denoised columns and V = D, or X
// if not `denoised`. The noise is zeta factor, or without one `noise` zeta; zeta ~ CN(0, 1).
struct LevelView {
  float keep;
  float shift;
  float noise;
  bool denoised;
  const float* matrix;  // packed
  const float* factor;  // packed, upper triangular, or null
  const float* force;   // [K, 2, Mp]
  // matrix = sum over j >= known of pull_j u_j u_j^H, which is cheaper where few coordinates are unknown; null if it is
  // not of this form.
  const float* pull;     // [Kp]
  const float* forward;  // U, packed
  const float* back;     // U^H, packed
  index_t known;
};

// Columns of D: gain x, or `mean` where that is not null.
struct DenoisedView {
  const float* mean;             // [K, 2, Mp]
  const float* gain;             // [Kp]
  const std::int32_t* counting;  // [count], the columns of D that are not negligible
  index_t count;
};

// State of one chain, and the workspace of its steps.
struct ChainView {
  float* x;        // [K, 2, Mp]
  float* energy;   // [Kp], energies of the columns of x
  float* scratch;  // [K, 7, W]
};

// Exact posterior of a noisy column under a mixture of powers: jadce_fast.priors.cell.CellPrior.tables.
struct MixtureView {
  index_t components;
  float noise_var;
  const float* rate;
  const float* offset;
  const float* gain;
};

// A column of D whose root mean square is below this times sigma is left out of the product. Less than the error of the
// quadrature over distance (1e-5 of the column), and all columns together add at most sqrt(K) times this.
inline constexpr float kLeastColumn = 4e-6f;

// Sums over a mixture for the posterior of one column: weight is the component's posterior weight, up to a factor.
template <class V>
struct MixtureSums {
  V active, first, lost, second;

  JADCE_INLINE void add(V weight, float rate, float gain, float noise_var) {
    const float rest = noise_var * rate;  // 1 - gain: its spread is that of the gain, without cancellation
    active += weight;
    first += weight * gain;
    lost += weight * rest;
    second += weight * (rest * rest);
  }
};

// The posterior that follows from these sums; `inactive` is the weight of a column that is zero.
template <class V>
struct ColumnPosterior {
  V gain;         // the mean is gain x
  V probability;  // probability that the device is active
  V spread;       // variance of the gain

  JADCE_INLINE ColumnPosterior(const MixtureSums<V>& s, V inactive) {
    const V scale = 1.0f / (s.active + inactive), rest = scale * (s.lost + inactive);
    gain = scale * s.first;
    probability = scale * s.active;
    spread = scale * (s.second + inactive) - rest * rest;
    spread = spread > 0.0f ? spread : 0.0f * spread;
  }

  // Posterior variance of an entry; `power` is the column's mean.
  JADCE_INLINE V variance(float noise_var, V power) const { return noise_var * gain + power * spread; }
};

// Log density of the likeliest component at an energy, relative to what MixtureView's offsets are relative to.
template <class Math, class V>
JADCE_INLINE V largest_exponent(const MixtureView& m, V energy) {
  V top = m.offset[0] - energy * m.rate[0];
  for (index_t g = 1; g < m.components; ++g) top = Math::max(top, m.offset[g] - energy * m.rate[g]);
  return top;
}

template <class Math, class V>
JADCE_INLINE ColumnPosterior<V> column_posterior(const MixtureView& m, V energy) {
  const V zero = -energy / m.noise_var, top = Math::max(largest_exponent<Math>(m, energy), zero);
  MixtureSums<V> sums{};
  for (index_t g = 0; g < m.components; ++g)
    sums.add(Math::exp(m.offset[g] - energy * m.rate[g] - top), m.rate[g], m.gain[g], m.noise_var);
  return ColumnPosterior<V>(sums, Math::exp(zero - top));
}

// A column of D counts if gain^2 energy is above this.
JADCE_INLINE float least_energy(index_t antennas, float noise_var) {
  return kLeastColumn * kLeastColumn * static_cast<float>(antennas) * noise_var;
}

// Positive if a column may count: the largest exponent bounds the gain, so that most columns of inactive devices need
// no exponential.
template <class Math, class V>
JADCE_INLINE V may_count(const MixtureView& m, V energy, V log_components, V log_least) {
  return largest_exponent<Math>(m, energy) + energy / m.noise_var + log_components +
         0.5f * (Math::log(energy) - log_least);
}

}  // namespace jadce

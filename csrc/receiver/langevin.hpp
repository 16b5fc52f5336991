// Chains of annealed Langevin dynamics, planned once for a pilot matrix.
#pragma once

#include <array>
#include <complex>
#include <vector>

#include "core/aligned.hpp"
#include "core/thread_pool.hpp"
#include "kernels/table.hpp"

namespace jadce {

// One level, jadce_fast.anneal.Level: with u_j, s_j the left singular vectors and singular values of P,
//   matrix     = matrix[0] I + matrix[1] sum_(j < known) u_j u_j^H + matrix[2] sum_(j >= known) s_j^2 u_j u_j^H
//   covariance = covariance[0] I + covariance[1] sum_(j < known) s_j^-2 u_j u_j^H
//              + covariance[2] sum_(j >= known) s_j^2 u_j u_j^H
// The covariance is that of the noise; one of zero stands for white noise of standard deviation `noise`.
struct Level {
  float keep, shift, noise;
  bool denoised;
  index_t known;  // falls from level to level
  std::array<float, 3> matrix, covariance;
};

struct LangevinPlan {
  const cfloat* rotation;  // U [K, K], the left singular vectors of P
  const float* singular;   // [K], falling
  index_t devices, antennas, chains;
  int threads;
  const char* isa;  // null: the best one
};

// Steps at one level: `count` of them, the first with the noise of counter `first`.
struct Steps {
  index_t level;
  std::uint64_t seed;
  std::uint32_t first;
  index_t count;
};

class Langevin {
 public:
  using Chains = std::vector<index_t>;

  explicit Langevin(const LangevinPlan& plan);

  void plan(std::vector<Level> levels);

  // Prepares the matrices of a level and of those after it that fit in the workspace; called where they are wanted.
  void prepare(index_t level);

  // Begins a new block with the levels' force [levels, K, M].
  void block(const cfloat* force);

  // The chains listed begin anew at white noise of standard deviation sigma.
  void start(const Chains& chains, std::uint64_t seed, std::uint32_t step, float sigma);

  // Runs steps of the chains listed under the exact prior. The posterior of each state is added up if wanted.
  void anneal(const Chains& chains, Steps steps, const MixtureView& mixture, bool accumulate);

  // Runs one step from denoised states that somebody wrote to mean(), at the noise variance given.
  void step(const Chains& chains, Steps one, float noise_var);

  // Computes the exact posterior of the states as they are.
  void denoise(const Chains& chains, const MixtureView& mixture);

  // Mean power of an entry of each chain listed, and mean variance of an entry over those chains.
  std::vector<double> power(const Chains& chains) const;
  double spread(const Chains& chains) const;

  const ChainShape& shape() const { return shape_; }
  index_t chains() const { return chains_; }
  index_t levels() const { return static_cast<index_t>(levels_.size()); }
  const char* isa() const { return kernels_.name; }
  float* columns() { return columns_.get(); }          // [C, K, 2, Mp]
  float* mean() { return mean_.get(); }                // [C, K, 2, Mp]
  float* variance() { return variance_.get(); }        // [C, Kp]
  float* probability() { return probability_.get(); }  // [C, Kp]
  float* sums() { return sums_.get(); }                // [C, K, 2, Mp], sums of means
  float* sum_energy() { return sum_energy_.get(); }    // [C, Kp], sums of |mean|^2 / M + variance
  float* sum_active() { return sum_active_.get(); }    // [C, Kp], sums of probabilities
  const float* matrices(index_t level) const;          // [2, K, 2, Kp], matrix and factor, of a prepared level
  std::int32_t* counted() { return counted_.data(); }  // [C], columns that counted in the last step

 private:
  LevelView view(index_t level) const;
  void advance(index_t chain, NoiseKey key, const LevelView& level, DenoisedView d, int thread);
  void denoise(index_t chain, const MixtureView& mixture);
  void add(index_t chain);
  const float* energy(index_t chain) const { return energy_.get() + chain * shape_.padded; }

  const KernelTable& kernels_;
  mutable ThreadPool pool_;
  index_t chains_;
  ChainShape shape_;
  std::vector<Level> levels_;
  index_t first_ = 0, prepared_ = 0, room_ = 0;  // levels prepared, from first_ on, and how many fit
  index_t from_ = 0;                             // first coordinate of rest_
  std::vector<float> singular_;
  std::vector<std::int32_t> counting_, counted_;  // [C, K], [C]
  Floats vectors_, forward_, back_, rest_, pull_, matrices_, packed_, force_, scratch_;
  Floats columns_, mean_, sums_, energy_, gain_, variance_, probability_, sum_energy_, sum_active_;
};

}  // namespace jadce

// Chains of annealed Langevin dynamics, planned once for a pilot matrix.
#pragma once

#include <complex>
#include <vector>

#include "core/aligned.hpp"
#include "core/thread_pool.hpp"
#include "kernels/table.hpp"

namespace jadce {

class Langevin {
 public:
  // rotation: U [N, N], the left singular vectors of P.
  Langevin(const cfloat* rotation, index_t devices, index_t antennas, index_t chains, int threads, const char* isa);

  // A new block, already rotated by the right singular vectors: [N, M].
  void block(const cfloat* y);

  // The chains listed begin anew at noise of standard deviation sigma.
  void start(const std::vector<index_t>& chains, std::uint64_t seed, std::uint32_t step, float sigma);

  // `steps` steps of the chains listed under the exact prior. The posterior of each state is added up if wanted.
  void anneal(const std::vector<index_t>& chains, std::uint64_t seed, std::uint32_t step, index_t steps,
              const LevelView& level, const MixtureView& mixture, bool accumulate);

  // One step from denoised states that somebody wrote to mean().
  void step(const std::vector<index_t>& chains, std::uint64_t seed, std::uint32_t step, const LevelView& level);

  // The exact posterior of the states as they are.
  void denoise(const std::vector<index_t>& chains, const MixtureView& mixture);

  const RotationView& view() const { return view_; }
  index_t chains() const { return chains_; }
  const char* isa() const { return kernels_.name; }
  float* columns() { return columns_.get(); }          // [C, N, 2, Mp]
  float* mean() { return mean_.get(); }                // [C, N, 2, Mp]
  float* variance() { return variance_.get(); }        // [C, N]
  float* probability() { return probability_.get(); }  // [C, N]
  float* sums() { return sums_.get(); }                // [C, N, 2, Mp], of means
  float* sum_energy() { return sum_energy_.get(); }    // [C, N], of |mean|^2 / M + variance
  float* sum_active() { return sum_active_.get(); }    // [C, N], of probabilities

 private:
  void advance(index_t chain, std::uint64_t seed, std::uint32_t step, const LevelView& level);
  PosteriorView posterior(index_t chain);
  void add(index_t chain);

  const KernelTable& kernels_;
  ThreadPool pool_;
  index_t chains_;
  RotationView view_;
  Floats forward_, backward_, y_, rotated_, columns_, mean_, variance_, probability_, sums_, sum_energy_, sum_active_;
};

}  // namespace jadce

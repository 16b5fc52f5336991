// The launchers of the Langevin sampler's CUDA kernels, by the names of their fields.
#include "kernels/langevin/langevin_cuda.hpp"

#include "bindings/cuda.hpp"
#include "bindings/named.hpp"

namespace jadce::cuda {

void register_langevin_kernels(pybind11::module_& m) {
  using bindings::def_launcher;
  m.def("langevin_tile", &langevin_tile, "Antennas of one thread block of langevin_steps", pybind11::arg("devices"),
        pybind11::arg("antennas"));
  m.attr("langevin_spread_parts") = kSpreadParts;
  using Steps = LangevinStepsArgs;
  def_launcher(m, "langevin_steps", &langevin_steps, JADCE_NULLABLE(Steps, matrix), JADCE_NULLABLE(Steps, factor),
               JADCE_NULLABLE(Steps, force), JADCE_FIELD(Steps, level), JADCE_NULLABLE(Steps, mixture),
               JADCE_NULLABLE(Steps, mean), JADCE_FIELD(Steps, chain), JADCE_FIELD(Steps, rows),
               JADCE_FIELD(Steps, chains), JADCE_FIELD(Steps, devices), JADCE_FIELD(Steps, antennas),
               JADCE_FIELD(Steps, components), JADCE_FIELD(Steps, denoised), JADCE_FIELD(Steps, seed),
               JADCE_FIELD(Steps, step), JADCE_FIELD(Steps, steps), JADCE_FIELD(Steps, x), JADCE_FIELD(Steps, energy),
               JADCE_FIELD(Steps, other_x), JADCE_FIELD(Steps, other_energy));
  using Posterior = LangevinPosteriorArgs;
  def_launcher(m, "langevin_posterior", &langevin_posterior, JADCE_FIELD(Posterior, x), JADCE_FIELD(Posterior, energy),
               JADCE_FIELD(Posterior, level), JADCE_FIELD(Posterior, mixture), JADCE_FIELD(Posterior, chain),
               JADCE_FIELD(Posterior, rows), JADCE_FIELD(Posterior, chains), JADCE_FIELD(Posterior, devices),
               JADCE_FIELD(Posterior, antennas), JADCE_FIELD(Posterior, components), JADCE_FIELD(Posterior, mean),
               JADCE_FIELD(Posterior, power), JADCE_FIELD(Posterior, probability));
  using Watch = LangevinWatchArgs;
  def_launcher(m, "langevin_watch", &langevin_watch, JADCE_FIELD(Watch, x), JADCE_FIELD(Watch, energy),
               JADCE_FIELD(Watch, bound), JADCE_FIELD(Watch, before), JADCE_FIELD(Watch, blocks),
               JADCE_FIELD(Watch, chains), JADCE_FIELD(Watch, devices), JADCE_FIELD(Watch, antennas),
               JADCE_FIELD(Watch, after), JADCE_FIELD(Watch, spread));
  using Noise = LangevinNoiseArgs;
  def_launcher(m, "langevin_noise", &langevin_noise, JADCE_FIELD(Noise, seed), JADCE_FIELD(Noise, chain),
               JADCE_FIELD(Noise, step), JADCE_FIELD(Noise, count), JADCE_FIELD(Noise, pairs),
               JADCE_FIELD(Noise, words), JADCE_FIELD(Noise, normals));
}

}  // namespace jadce::cuda

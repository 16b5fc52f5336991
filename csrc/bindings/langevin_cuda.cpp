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
  def_launcher(m, "langevin_steps", &langevin_steps,
               JADCE_FIELDS(LangevinStepsArgs, level, chain, rows, chains, devices, antennas, components, denoised,
                            seed, step, steps, x, energy, other_x, other_energy),
               JADCE_OPTIONAL(LangevinStepsArgs, matrix, factor, force, mixture, mean));
  def_launcher(m, "langevin_posterior", &langevin_posterior,
               JADCE_FIELDS(LangevinPosteriorArgs, x, energy, level, mixture, chain, rows, chains, devices, antennas,
                            components, mean, power, probability));
  def_launcher(
      m, "langevin_watch", &langevin_watch,
      JADCE_FIELDS(LangevinWatchArgs, x, energy, bound, before, blocks, chains, devices, antennas, after, spread));
  def_launcher(m, "langevin_noise", &langevin_noise,
               JADCE_FIELDS(LangevinNoiseArgs, seed, chain, step, count, pairs, words, normals));
}

}  // namespace jadce::cuda

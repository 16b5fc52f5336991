#include "kernels/pilot_transform/pilot_transform_cuda.hpp"

#include <pybind11/complex.h>
#include <pybind11/numpy.h>

#include <tuple>
#include <vector>

#include "bindings/cuda.hpp"
#include "bindings/named.hpp"
#include "kernels/fft/fft.hpp"

namespace jadce::cuda {

void register_pilot_transform_kernels(pybind11::module_& m) {
  using bindings::def_launcher, bindings::def_struct;
  def_struct(m, "Sizes", "K, N, T, M, P and B",
             JADCE_FIELDS(Sizes, devices, subcarriers, symbols, antennas, coefficients, batch));
  def_struct(m, "PilotTables", "Pilots of either kind: rows and twiddle, or array",
             JADCE_OPTIONAL(PilotTables, rows, twiddle, array));
  def_struct(m, "FftTables", "Tables of an FftPlan", JADCE_FIELDS(FftTables, twiddle, root),
             JADCE_OPTIONAL(FftTables, chirp, chirp_dft));
  def_struct(m, "RowOrder", "Measurements in the order of their DFT rows", JADCE_FIELDS(RowOrder, start, measurements));
  def_struct(m, "SparseParts", "The part S of the state", JADCE_OPTIONAL(SparseParts, slot, s, slots));
  def_struct(m, "StatisticsOutput", "What the statistics of all devices are written to",
             JADCE_FIELDS(StatisticsOutput, merge), JADCE_OPTIONAL(StatisticsOutput, z, energy));
  def_launcher(
      m, "gather", &gather, JADCE_FIELDS(GatherArgs, r, pilots, device, known, capacity, sizes),
      JADCE_OPTIONAL(GatherArgs, basis, parts, count, enabled, v_b, mean_v, rules, z, power, noise, mean, var));
  def_launcher(m, "spectral", &spectral, JADCE_FIELDS(SpectralArgs, r, rows, amplitude, fft, sizes, out),
               JADCE_OPTIONAL(SpectralArgs, basis, parts, enabled, idle, idle_energy));
  def_launcher(m, "spectral_large", &spectral_large,
               JADCE_FIELDS(SpectralLargeArgs, r, rows, twiddle, first, first_fft, second_fft, sizes, work, out),
               JADCE_OPTIONAL(SpectralLargeArgs, basis, parts, enabled));
  def_launcher(m, "direct", &direct, JADCE_FIELDS(DirectArgs, r, pilots, sizes, out),
               JADCE_OPTIONAL(DirectArgs, basis, parts, enabled));
  def_launcher(m, "residual", &residual, JADCE_FIELDS(ResidualArgs, pilots, s, device, capacity, sizes, r, power),
               JADCE_OPTIONAL(ResidualArgs, y, scale, gram, r_pri, basis, count, enabled));
  m.def(
      "fft_tables",
      [](index_t length) {
        const FftPlan plan(length);
        const auto array = [](const std::vector<cfloat>& v) {
          return pybind11::array_t<cfloat>(static_cast<pybind11::ssize_t>(v.size()), v.data());
        };
        return std::tuple(array(plan.twiddle()), array(plan.root()), array(plan.chirp()), array(plan.chirp_dft()));
      },
      pybind11::arg("length"), "Twiddles, roots, chirp and the chirp's transform of a K-point transform");
  m.def("fft_split", &fft_split, pybind11::arg("length"), "K1 of a K-point transform in two passes");
}

}  // namespace jadce::cuda

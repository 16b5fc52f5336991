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
  def_struct(m, "Sizes", "K, N, T, M, P and B", JADCE_FIELD(Sizes, devices), JADCE_FIELD(Sizes, subcarriers),
             JADCE_FIELD(Sizes, symbols), JADCE_FIELD(Sizes, antennas), JADCE_FIELD(Sizes, coefficients),
             JADCE_FIELD(Sizes, batch));
  def_struct(m, "PilotTables", "Pilots of either kind: rows and twiddle, or array", JADCE_NULLABLE(PilotTables, rows),
             JADCE_NULLABLE(PilotTables, twiddle), JADCE_NULLABLE(PilotTables, array));
  def_struct(m, "FftTables", "Tables of an FftPlan", JADCE_FIELD(FftTables, twiddle), JADCE_FIELD(FftTables, root),
             JADCE_NULLABLE(FftTables, chirp), JADCE_NULLABLE(FftTables, chirp_dft));
  def_struct(m, "RowOrder", "Measurements in the order of their DFT rows", JADCE_FIELD(RowOrder, start),
             JADCE_FIELD(RowOrder, measurements));
  def_struct(m, "SparseParts", "The part S of the state", JADCE_NULLABLE(SparseParts, slot),
             JADCE_NULLABLE(SparseParts, s), JADCE_DEFAULTED(SparseParts, slots));
  def_struct(m, "StatisticsOutput", "What the statistics of all devices are written to",
             JADCE_NULLABLE(StatisticsOutput, z), JADCE_NULLABLE(StatisticsOutput, energy),
             JADCE_FIELD(StatisticsOutput, merge));
  def_launcher(m, "gather", &gather, JADCE_FIELD(GatherArgs, r), JADCE_FIELD(GatherArgs, pilots),
               JADCE_NULLABLE(GatherArgs, basis), JADCE_DEFAULTED(GatherArgs, parts), JADCE_FIELD(GatherArgs, device),
               JADCE_NULLABLE(GatherArgs, count), JADCE_NULLABLE(GatherArgs, enabled), JADCE_NULLABLE(GatherArgs, v_b),
               JADCE_NULLABLE(GatherArgs, mean_v), JADCE_FIELD(GatherArgs, known), JADCE_DEFAULTED(GatherArgs, rules),
               JADCE_FIELD(GatherArgs, capacity), JADCE_FIELD(GatherArgs, sizes), JADCE_NULLABLE(GatherArgs, z),
               JADCE_NULLABLE(GatherArgs, power), JADCE_NULLABLE(GatherArgs, noise), JADCE_NULLABLE(GatherArgs, mean),
               JADCE_NULLABLE(GatherArgs, var));
  def_launcher(
      m, "spectral", &spectral, JADCE_FIELD(SpectralArgs, r), JADCE_FIELD(SpectralArgs, rows),
      JADCE_FIELD(SpectralArgs, amplitude), JADCE_FIELD(SpectralArgs, fft), JADCE_NULLABLE(SpectralArgs, basis),
      JADCE_DEFAULTED(SpectralArgs, parts), JADCE_NULLABLE(SpectralArgs, enabled), JADCE_FIELD(SpectralArgs, sizes),
      JADCE_NULLABLE(SpectralArgs, idle), JADCE_FIELD(SpectralArgs, out), JADCE_NULLABLE(SpectralArgs, idle_energy));
  def_launcher(m, "spectral_large", &spectral_large, JADCE_FIELD(SpectralLargeArgs, r),
               JADCE_FIELD(SpectralLargeArgs, rows), JADCE_FIELD(SpectralLargeArgs, twiddle),
               JADCE_FIELD(SpectralLargeArgs, first), JADCE_FIELD(SpectralLargeArgs, first_fft),
               JADCE_FIELD(SpectralLargeArgs, second_fft), JADCE_NULLABLE(SpectralLargeArgs, basis),
               JADCE_DEFAULTED(SpectralLargeArgs, parts), JADCE_NULLABLE(SpectralLargeArgs, enabled),
               JADCE_FIELD(SpectralLargeArgs, sizes), JADCE_FIELD(SpectralLargeArgs, work),
               JADCE_FIELD(SpectralLargeArgs, out));
  def_launcher(m, "direct", &direct, JADCE_FIELD(DirectArgs, r), JADCE_FIELD(DirectArgs, pilots),
               JADCE_NULLABLE(DirectArgs, basis), JADCE_DEFAULTED(DirectArgs, parts),
               JADCE_NULLABLE(DirectArgs, enabled), JADCE_FIELD(DirectArgs, sizes), JADCE_FIELD(DirectArgs, out));
  def_launcher(m, "residual", &residual, JADCE_NULLABLE(ResidualArgs, y), JADCE_NULLABLE(ResidualArgs, scale),
               JADCE_NULLABLE(ResidualArgs, gram), JADCE_NULLABLE(ResidualArgs, r_pri),
               JADCE_FIELD(ResidualArgs, pilots), JADCE_NULLABLE(ResidualArgs, basis), JADCE_FIELD(ResidualArgs, s),
               JADCE_FIELD(ResidualArgs, device), JADCE_NULLABLE(ResidualArgs, count),
               JADCE_NULLABLE(ResidualArgs, enabled), JADCE_FIELD(ResidualArgs, capacity),
               JADCE_FIELD(ResidualArgs, sizes), JADCE_FIELD(ResidualArgs, r), JADCE_FIELD(ResidualArgs, power));
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

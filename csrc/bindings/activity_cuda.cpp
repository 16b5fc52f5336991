#include "kernels/activity/activity_cuda.hpp"

#include "bindings/cuda.hpp"
#include "bindings/named.hpp"

namespace jadce::cuda {

void register_activity_kernels(pybind11::module_& m) {
  using bindings::def_launcher, bindings::def_struct;
  def_struct(m, "Energies", "Energies of all devices",
             JADCE_FIELDS(Energies, energy, rows, merge, devices, antennas, batch));
  def_struct(m, "ActivityView", "The mixtures of the activity test",
             JADCE_FIELDS(ActivityView, gains, powers, products, product, weight, log_power_weight, power, index,
                          eigenvalue, multiplicity));
  def_launcher(m, "activity_table", &activity_table,
               JADCE_FIELDS(ActivityTableArgs, energies, mixture, null, slope, offset),
               JADCE_OPTIONAL(ActivityTableArgs, sums, idle, idle_count, v, enabled, rules));
  def_launcher(m, "activity", &activity,
               JADCE_FIELDS(ActivityArgs, energies, slope, offset, mixture, log_odds, llr, posterior, idle),
               JADCE_OPTIONAL(ActivityArgs, enabled, control, rules));
  def_launcher(m, "select_candidates", &select_candidates,
               JADCE_FIELDS(SelectCandidatesArgs, control, llr, posterior, idle, rules, devices, capacity, slots, batch,
                            device, chosen, free, slot, support, place, remaining, loop));
}

}  // namespace jadce::cuda

#include "kernels/activity/activity_cuda.hpp"

#include "bindings/cuda.hpp"
#include "bindings/named.hpp"

namespace jadce::cuda {

void register_activity_kernels(pybind11::module_& m) {
  using bindings::def_launcher, bindings::def_struct;
  def_struct(m, "Energies", "Energies of all devices", JADCE_FIELD(Energies, energy), JADCE_FIELD(Energies, rows),
             JADCE_FIELD(Energies, merge), JADCE_FIELD(Energies, devices), JADCE_FIELD(Energies, antennas),
             JADCE_FIELD(Energies, batch));
  def_struct(m, "ActivityView", "The mixtures of the activity test", JADCE_FIELD(ActivityView, gains),
             JADCE_FIELD(ActivityView, powers), JADCE_FIELD(ActivityView, products), JADCE_FIELD(ActivityView, product),
             JADCE_FIELD(ActivityView, weight), JADCE_FIELD(ActivityView, log_power_weight),
             JADCE_FIELD(ActivityView, power), JADCE_FIELD(ActivityView, index), JADCE_FIELD(ActivityView, eigenvalue),
             JADCE_FIELD(ActivityView, multiplicity));
  def_launcher(m, "activity_table", &activity_table, JADCE_FIELD(ActivityTableArgs, energies),
               JADCE_NULLABLE(ActivityTableArgs, sums), JADCE_NULLABLE(ActivityTableArgs, idle),
               JADCE_NULLABLE(ActivityTableArgs, idle_count), JADCE_NULLABLE(ActivityTableArgs, v),
               JADCE_FIELD(ActivityTableArgs, mixture), JADCE_NULLABLE(ActivityTableArgs, enabled),
               JADCE_DEFAULTED(ActivityTableArgs, rules), JADCE_FIELD(ActivityTableArgs, null),
               JADCE_FIELD(ActivityTableArgs, slope), JADCE_FIELD(ActivityTableArgs, offset));
  def_launcher(m, "activity", &activity, JADCE_FIELD(ActivityArgs, energies), JADCE_FIELD(ActivityArgs, slope),
               JADCE_FIELD(ActivityArgs, offset), JADCE_FIELD(ActivityArgs, mixture),
               JADCE_NULLABLE(ActivityArgs, enabled), JADCE_NULLABLE(ActivityArgs, control),
               JADCE_FIELD(ActivityArgs, log_odds), JADCE_DEFAULTED(ActivityArgs, rules),
               JADCE_FIELD(ActivityArgs, llr), JADCE_FIELD(ActivityArgs, posterior), JADCE_FIELD(ActivityArgs, idle));
  def_launcher(m, "select_candidates", &select_candidates, JADCE_FIELD(SelectCandidatesArgs, control),
               JADCE_FIELD(SelectCandidatesArgs, llr), JADCE_FIELD(SelectCandidatesArgs, posterior),
               JADCE_FIELD(SelectCandidatesArgs, idle), JADCE_FIELD(SelectCandidatesArgs, rules),
               JADCE_FIELD(SelectCandidatesArgs, devices), JADCE_FIELD(SelectCandidatesArgs, capacity),
               JADCE_FIELD(SelectCandidatesArgs, slots), JADCE_FIELD(SelectCandidatesArgs, batch),
               JADCE_FIELD(SelectCandidatesArgs, device), JADCE_FIELD(SelectCandidatesArgs, chosen),
               JADCE_FIELD(SelectCandidatesArgs, free), JADCE_FIELD(SelectCandidatesArgs, slot),
               JADCE_FIELD(SelectCandidatesArgs, support), JADCE_FIELD(SelectCandidatesArgs, place),
               JADCE_FIELD(SelectCandidatesArgs, remaining), JADCE_FIELD(SelectCandidatesArgs, loop));
}

}  // namespace jadce::cuda

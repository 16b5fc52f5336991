#include "loop/rules.hpp"

#include "bindings/named.hpp"
#include "bindings/register.hpp"

namespace jadce::bindings {

void register_rules(pybind11::module_& m) {
  def_struct(m, "Rules", "Constants of the loop", JADCE_DEFAULTED(Rules, max_iterations),
             JADCE_DEFAULTED(Rules, screening), JADCE_DEFAULTED(Rules, predicted), JADCE_DEFAULTED(Rules, damp_from),
             JADCE_DEFAULTED(Rules, damping), JADCE_DEFAULTED(Rules, settled), JADCE_DEFAULTED(Rules, stalled),
             JADCE_DEFAULTED(Rules, near_best), JADCE_DEFAULTED(Rules, caution), JADCE_DEFAULTED(Rules, threshold),
             JADCE_DEFAULTED(Rules, certain), JADCE_DEFAULTED(Rules, active), JADCE_DEFAULTED(Rules, idle),
             JADCE_DEFAULTED(Rules, enough_idle), JADCE_DEFAULTED(Rules, decodable), JADCE_DEFAULTED(Rules, weakest),
             JADCE_DEFAULTED(Rules, evidence), JADCE_DEFAULTED(Rules, least_left), JADCE_DEFAULTED(Rules, most_left),
             JADCE_DEFAULTED(Rules, most_errors), JADCE_DEFAULTED(Rules, left_out),
             JADCE_DEFAULTED(Rules, smallest_variance), JADCE_DEFAULTED(Rules, rounding),
             JADCE_DEFAULTED(Rules, smallest_power), JADCE_DEFAULTED(Rules, smallest_mean_power),
             JADCE_DEFAULTED(Rules, smallest_null), JADCE_DEFAULTED(Rules, smallest_alpha),
             JADCE_DEFAULTED(Rules, largest_alpha), JADCE_DEFAULTED(Rules, negligible));
}

}  // namespace jadce::bindings

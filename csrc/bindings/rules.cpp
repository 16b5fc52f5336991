#include "loop/rules.hpp"

#include "bindings/named.hpp"
#include "bindings/register.hpp"

namespace jadce::bindings {

void register_rules(pybind11::module_& m) {
  def_struct(m, "Rules", "Constants of the loop",
             JADCE_OPTIONAL(Rules, max_iterations, screening, predicted, damp_from, damping, settled, stalled, handover,
                            near_best, caution, threshold, certain, active, idle, enough_idle, decodable, weakest,
                            reach, farthest, faint, unseen, invisible, evidence, least_left, most_left, most_errors,
                            error_share, left_out, smallest_variance, rounding, smallest_power, smallest_mean_power,
                            smallest_null, smallest_alpha, largest_alpha, negligible));
}

}  // namespace jadce::bindings

#include "kernels/posterior/posterior_cuda.hpp"

#include "bindings/cuda.hpp"
#include "bindings/named.hpp"

namespace jadce::cuda {

void register_posterior_kernels(pybind11::module_& m) {
  using bindings::def_launcher, bindings::def_struct;
  def_struct(m, "Candidates", "What module B says about the candidates",
             JADCE_FIELDS(Candidates, posterior, power, mean, var, device));
  def_struct(m, "KeptOutput", "The output of the best iteration",
             JADCE_FIELDS(KeptOutput, device, posterior, var, mean));
  def_launcher(m, "module_a", &module_a,
               JADCE_FIELDS(ModuleAArgs, control, power, gram, r_pri, r, mean_gram, uniform, rules, sizes, v_a, eta,
                            v_b, r_b, history));
  def_launcher(m, "update", &update,
               JADCE_FIELDS(UpdateArgs, control, candidates, v_b, posterior, r_b, place, rules, capacity, slots, sizes,
                            v_a, slot, support, s, r_pri, kept, activity, history));
}

}  // namespace jadce::cuda

#include "kernels/posterior/posterior_cuda.hpp"

#include "bindings/cuda.hpp"
#include "bindings/named.hpp"

namespace jadce::cuda {

void register_posterior_kernels(pybind11::module_& m) {
  using bindings::def_launcher, bindings::def_struct;
  def_struct(m, "Candidates", "What module B says about the candidates", JADCE_FIELD(Candidates, posterior),
             JADCE_FIELD(Candidates, power), JADCE_FIELD(Candidates, mean), JADCE_FIELD(Candidates, var),
             JADCE_FIELD(Candidates, device));
  def_struct(m, "KeptOutput", "The output of the best iteration", JADCE_FIELD(KeptOutput, device),
             JADCE_FIELD(KeptOutput, posterior), JADCE_FIELD(KeptOutput, var), JADCE_FIELD(KeptOutput, mean));
  def_launcher(m, "module_a", &module_a, JADCE_FIELD(ModuleAArgs, control), JADCE_FIELD(ModuleAArgs, power),
               JADCE_FIELD(ModuleAArgs, gram), JADCE_FIELD(ModuleAArgs, r_pri), JADCE_FIELD(ModuleAArgs, r),
               JADCE_FIELD(ModuleAArgs, mean_gram), JADCE_FIELD(ModuleAArgs, uniform), JADCE_FIELD(ModuleAArgs, rules),
               JADCE_FIELD(ModuleAArgs, sizes), JADCE_FIELD(ModuleAArgs, v_a), JADCE_FIELD(ModuleAArgs, eta),
               JADCE_FIELD(ModuleAArgs, v_b), JADCE_FIELD(ModuleAArgs, r_b), JADCE_FIELD(ModuleAArgs, history));
  def_launcher(m, "update", &update, JADCE_FIELD(UpdateArgs, control), JADCE_FIELD(UpdateArgs, candidates),
               JADCE_FIELD(UpdateArgs, v_b), JADCE_FIELD(UpdateArgs, posterior), JADCE_FIELD(UpdateArgs, r_b),
               JADCE_FIELD(UpdateArgs, place), JADCE_FIELD(UpdateArgs, rules), JADCE_FIELD(UpdateArgs, capacity),
               JADCE_FIELD(UpdateArgs, slots), JADCE_FIELD(UpdateArgs, sizes), JADCE_FIELD(UpdateArgs, v_a),
               JADCE_FIELD(UpdateArgs, slot), JADCE_FIELD(UpdateArgs, support), JADCE_FIELD(UpdateArgs, s),
               JADCE_FIELD(UpdateArgs, r_pri), JADCE_FIELD(UpdateArgs, kept), JADCE_FIELD(UpdateArgs, activity),
               JADCE_FIELD(UpdateArgs, history));
}

}  // namespace jadce::cuda

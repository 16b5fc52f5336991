#include "kernels/detection/detection_cuda.hpp"

#include "bindings/cuda.hpp"
#include "bindings/named.hpp"

namespace jadce::cuda {

void register_detection_kernels(pybind11::module_& m) {
  using bindings::def_launcher, bindings::def_struct;
  def_launcher(m, "set_input", &set_input, JADCE_FIELDS(SetInputArgs, y, noise_var, blocks, input));
  def_launcher(m, "beamspace", &beamspace, JADCE_FIELDS(BeamspaceArgs, input, sizes, y, power),
               JADCE_OPTIONAL(BeamspaceArgs, dft, rotation, scratch));
  def_launcher(m, "begin", &begin,
               JADCE_FIELDS(BeginArgs, input, power, rules, known, expected, sizes, slots, control, slot, support, s,
                            r_pri, idle, activity, remaining));
  def_launcher(m, "choose", &choose, JADCE_FIELDS(ChooseArgs, control, conditions, count, chunk, capacity, batch));
  def_launcher(m, "decide", &decide, JADCE_FIELDS(DecideArgs, control, kept, rules, capacity, batch, device, index));
  def_launcher(m, "finish", &finish,
               JADCE_FIELDS(FinishArgs, control, power, kept, index, gain, sizes, capacity, active, channels,
                            channel_var, activity),
               JADCE_OPTIONAL(FinishArgs, basis, dft, rules));
}

}  // namespace jadce::cuda

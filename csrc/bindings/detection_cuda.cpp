#include "kernels/detection/detection_cuda.hpp"

#include "bindings/cuda.hpp"
#include "bindings/named.hpp"

namespace jadce::cuda {

void register_detection_kernels(pybind11::module_& m) {
  using bindings::def_launcher, bindings::def_struct;
  def_launcher(m, "set_input", &set_input, JADCE_FIELD(SetInputArgs, y), JADCE_FIELD(SetInputArgs, noise_var),
               JADCE_FIELD(SetInputArgs, blocks), JADCE_FIELD(SetInputArgs, input));
  def_launcher(m, "beamspace", &beamspace, JADCE_FIELD(BeamspaceArgs, input), JADCE_NULLABLE(BeamspaceArgs, dft),
               JADCE_NULLABLE(BeamspaceArgs, rotation), JADCE_FIELD(BeamspaceArgs, sizes),
               JADCE_FIELD(BeamspaceArgs, y), JADCE_NULLABLE(BeamspaceArgs, scratch),
               JADCE_FIELD(BeamspaceArgs, power));
  def_launcher(m, "begin", &begin, JADCE_FIELD(BeginArgs, input), JADCE_FIELD(BeginArgs, power),
               JADCE_FIELD(BeginArgs, rules), JADCE_FIELD(BeginArgs, known), JADCE_FIELD(BeginArgs, expected),
               JADCE_FIELD(BeginArgs, sizes), JADCE_FIELD(BeginArgs, slots), JADCE_FIELD(BeginArgs, control),
               JADCE_FIELD(BeginArgs, slot), JADCE_FIELD(BeginArgs, support), JADCE_FIELD(BeginArgs, s),
               JADCE_FIELD(BeginArgs, r_pri), JADCE_FIELD(BeginArgs, idle), JADCE_FIELD(BeginArgs, activity),
               JADCE_FIELD(BeginArgs, remaining));
  def_launcher(m, "choose", &choose, JADCE_FIELD(ChooseArgs, control), JADCE_FIELD(ChooseArgs, conditions),
               JADCE_FIELD(ChooseArgs, count), JADCE_FIELD(ChooseArgs, chunk), JADCE_FIELD(ChooseArgs, capacity),
               JADCE_FIELD(ChooseArgs, batch));
  def_launcher(m, "decide", &decide, JADCE_FIELD(DecideArgs, control), JADCE_FIELD(DecideArgs, kept),
               JADCE_FIELD(DecideArgs, rules), JADCE_FIELD(DecideArgs, capacity), JADCE_FIELD(DecideArgs, batch),
               JADCE_FIELD(DecideArgs, device), JADCE_FIELD(DecideArgs, index));
  def_launcher(m, "finish", &finish, JADCE_FIELD(FinishArgs, control), JADCE_FIELD(FinishArgs, power),
               JADCE_FIELD(FinishArgs, kept), JADCE_FIELD(FinishArgs, index), JADCE_NULLABLE(FinishArgs, basis),
               JADCE_NULLABLE(FinishArgs, dft), JADCE_FIELD(FinishArgs, gain), JADCE_DEFAULTED(FinishArgs, rules),
               JADCE_FIELD(FinishArgs, sizes), JADCE_FIELD(FinishArgs, capacity), JADCE_FIELD(FinishArgs, active),
               JADCE_FIELD(FinishArgs, channels), JADCE_FIELD(FinishArgs, channel_var),
               JADCE_FIELD(FinishArgs, activity));
}

}  // namespace jadce::cuda

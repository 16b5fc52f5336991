#include "bindings/cuda.hpp"

#include <pybind11/complex.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/named.hpp"
#include "bindings/register.hpp"
#include "core/graph_cuda.hpp"
#include "kernels/activity/activity_cuda.hpp"
#include "kernels/beam_network/beam_network_cuda.hpp"
#include "kernels/beam_network/beam_network_pack.hpp"
#include "kernels/colored_noise/colored_noise_cuda.hpp"
#include "kernels/detection/detection_cuda.hpp"
#include "kernels/fft/fft.hpp"
#include "kernels/langevin/langevin_cuda.hpp"
#include "kernels/pilot_transform/pilot_transform_cuda.hpp"
#include "kernels/posterior/posterior_cuda.hpp"
#include "loop/control.hpp"

namespace jadce::cuda {

namespace {

using bindings::def_launcher, bindings::def_struct;

void register_control(pybind11::module_& m) {
  m.attr("control_dtype") = bindings::record_dtype(
      JADCE_FIELDS(Control, noise, received, power, scale, error, previous, best, gamma, run, test, keep, last, going,
                   iteration, converged, settled, candidates, left_out, idle, slots, unplaced, kept, kept_left_out,
                   decided, found, residual, stopped, expected, awaited, unseen, faint, deviation, fitted, least, most,
                   trusted, colored, members, member, deadline, elapsed, longest, known, sought, faintest));
}

void register_graph(pybind11::module_& m) {
  const auto address = [](void* stream) { return reinterpret_cast<std::uintptr_t>(stream); };
  m.attr("no_loop") = kNoLoop;
  m.attr("input_words") = sizeof(Input) / sizeof(std::int64_t);
  m.def(
      "check_child", [](std::uintptr_t child) { check_child(reinterpret_cast<void*>(child)); }, pybind11::arg("child"));
  pybind11::class_<Graph>(m, "Graph", pybind11::module_local())
      .def(pybind11::init<bool>(), pybind11::kw_only(), pybind11::arg("overlapping"))
      .def("begin", [address](Graph& g) { return address(g.begin()); })
      .def("open_loop",
           [address](Graph& g) {
             const auto [stream, handle] = g.open_loop();
             return std::pair(address(stream), handle);
           })
      .def(
          "add_if", [](Graph& g, std::uintptr_t child) { return g.add_if(reinterpret_cast<void*>(child)); },
          pybind11::arg("child"))
      .def("close_loop", &Graph::close_loop)
      .def("end", &Graph::end)
      .def(
          "launch", [](const Graph& g, std::uintptr_t stream) { g.launch(reinterpret_cast<void*>(stream)); },
          pybind11::arg("stream"));
}

void register_pilot_transform(pybind11::module_& m) {
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

void register_activity(pybind11::module_& m) {
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
                            device, chosen, free, slot, support, place, remaining, loop),
               JADCE_OPTIONAL(SelectCandidatesArgs, learn_rate, log_odds));
}

void register_posterior(pybind11::module_& m) {
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

void register_beam_network(pybind11::module_& m) {
  def_struct(m, "NetworkShape", "The architecture of a beam network",
             JADCE_FIELDS(NetworkShape, width, hidden, blocks, taps));
  def_launcher(
      m, "beam_network", &beam_network,
      JADCE_FIELDS(BeamNetworkArgs, z, noise, eigenvalue, weights, dilation, shape, step, capacity, sizes, mean, var),
      JADCE_OPTIONAL(BeamNetworkArgs, count, enabled, turn, member));
  def_launcher(
      m, "beam_network_tensor", &beam_network_tensor,
      JADCE_FIELDS(BeamNetworkArgs, z, noise, eigenvalue, weights, dilation, shape, step, capacity, sizes, mean, var),
      JADCE_OPTIONAL(BeamNetworkArgs, count, enabled, turn, member));
  const auto fits = [&m](const char* name, bool (*function)(const NetworkShape&, int, int), const char* doc) {
    m.def(name, function, pybind11::kw_only(), pybind11::arg("shape"), pybind11::arg("coefficients"),
          pybind11::arg("antennas"), doc);
  };
  fits("beam_network_fits", &beam_network_fits, "Whether the network fits in single precision");
  fits("beam_network_tensor_fits", &beam_network_tensor_fits, "Whether the network fits on tensor cores");
  const auto pack = [&m]<class T>(const char* name,
                                  void (*function)(index_t, index_t, const float*, const float*, std::vector<T>&),
                                  const char* doc) {
    m.def(
        name,
        [function](const bindings::Array<float>& weight, const bindings::Array<float>& bias) {
          std::vector<T> packed;
          function(weight.shape(0), weight.shape(1), weight.data(), bias.data(), packed);
          return pybind11::array_t<T>(static_cast<pybind11::ssize_t>(packed.size()), packed.data());
        },
        pybind11::arg("weight"), pybind11::arg("bias"), doc);
  };
  pack("pack_dense", &pack_dense, "One dense layer, weight (outputs, inputs) and bias, as the network wants it");
  pack("pack_depthwise", &pack_depthwise, "One depthwise layer, weight (channels, taps) and bias");
  pack("pack_dense_tensor", &pack_dense_tensor, "The same for tensor cores, in words of four bytes");
  pack("pack_depthwise_tensor", &pack_depthwise_tensor, "The same for the network on tensor cores");
}

void register_colored_noise(pybind11::module_& m) {
  def_launcher(m, "whiten", &whiten, JADCE_FIELDS(WhitenArgs, r, inverse, sizes, filtered, whitened),
               JADCE_OPTIONAL(WhitenArgs, enabled, power));
  def_launcher(m, "noise_mixing", &noise_mixing,
               JADCE_FIELDS(NoiseMixingArgs, control, filtered, gram, covariance, unmix, level, mean_gram, uniform,
                            rules, sizes, v_a, gain, mixing));
  def_launcher(m, "noise_invert", &noise_invert,
               JADCE_FIELDS(NoiseInvertArgs, control, candidates, v_a, mean_gram, rules, capacity, sizes, gain, mixing,
                            unknown, v_b, mix, history));
  def_launcher(m, "noise_message", &noise_message,
               JADCE_FIELDS(NoiseMessageArgs, control, gram, covariance, v_a, gain, mix, r_pri, sizes, r, r_b));
}

void register_detection(pybind11::module_& m) {
  def_launcher(m, "set_input", &set_input, JADCE_FIELDS(SetInputArgs, y, noise_var, blocks, deadline, input));
  def_launcher(m, "beamspace", &beamspace, JADCE_FIELDS(BeamspaceArgs, input, sizes, y, power),
               JADCE_OPTIONAL(BeamspaceArgs, dft, rotation, scratch));
  def_launcher(m, "begin", &begin,
               JADCE_FIELDS(BeginArgs, input, power, rules, known, expected, sizes, slots, members, control, slot,
                            support, s, r_pri, idle, activity, remaining));
  def_launcher(m, "choose", &choose, JADCE_FIELDS(ChooseArgs, control, conditions, count, chunk, capacity, batch));
  def_launcher(m, "decide", &decide,
               JADCE_FIELDS(DecideArgs, control, kept, rules, capacity, devices, batch, activity, device, index));
  def_launcher(m, "finish", &finish,
               JADCE_FIELDS(FinishArgs, control, power, kept, index, gain, sizes, capacity, active, channels,
                            channel_var, activity),
               JADCE_OPTIONAL(FinishArgs, basis, dft, rules));
}

void register_langevin(pybind11::module_& m) {
  m.def("langevin_cluster", &langevin_cluster, "Thread blocks that work on one chain");
  m.def("langevin_exchanges", &langevin_exchanges, "Whether they need memory to exchange columns", pybind11::kw_only(),
        pybind11::arg("devices"), pybind11::arg("antennas"), pybind11::arg("cluster"));
  m.attr("langevin_exchange") = kLangevinExchange;
  def_launcher(m, "langevin_anneal", &langevin_anneal,
               JADCE_FIELDS(LangevinAnnealArgs, chain, rows, blocks, chains, devices, antennas, components, denoised,
                            seed, step, levels, steps, average, cluster, x),
               JADCE_OPTIONAL(LangevinAnnealArgs, matrix, factor, force, level, mixture, mean, start, exchange, seen,
                              energy, sum, power, probability));
  def_launcher(m, "langevin_watch", &langevin_watch,
               JADCE_FIELDS(LangevinWatchArgs, x, energy, bound, before, levels, blocks, chains, devices, antennas,
                            after, spread));
  def_launcher(m, "langevin_noise", &langevin_noise,
               JADCE_FIELDS(LangevinNoiseArgs, seed, chain, step, count, pairs, words, normals));
}

}  // namespace

void bind_kernels(pybind11::module_& m) {
  m.def(
      "devices",
      [] {
        const char* message = "";
        const int count = device_count(&message);
        return std::pair(count, std::string(message));
      },
      "Number of CUDA devices, and why there is none");
  bindings::register_rules(m);
  register_control(m);
  register_graph(m);
  register_pilot_transform(m);
  register_activity(m);
  register_posterior(m);
  register_beam_network(m);
  register_colored_noise(m);
  register_detection(m);
  register_detection_plan(m);
  register_langevin(m);
}

}  // namespace jadce::cuda

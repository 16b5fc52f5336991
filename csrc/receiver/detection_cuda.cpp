#include "receiver/detection_cuda.hpp"

#include <array>

namespace jadce::cuda {

namespace {

using Plan = DetectionPlan;

// The address of a member of the first block's Control.
template <class T>
T* word(const Plan& p, T Control::* member) {
  return &(p.memory.control->*member);
}

Energies energies(const Plan& p) {
  const Sizes& s = p.shape.sizes;
  return {p.memory.energy, p.shape.rows(), p.shape.merge / p.shape.merged(), s.devices, s.antennas, s.batch};
}

SparseParts parts(const Plan& p) { return {p.memory.slot, p.memory.s, p.shape.slots()}; }

KeptOutput kept(const Plan& p) {
  return {.device = p.memory.kept_device,
          .posterior = p.memory.kept_posterior,
          .var = p.memory.kept_var,
          .mean = p.memory.kept_mean};
}

// The received block over beams, and its power.
void enqueue_beamspace(const Plan& p, std::uint64_t, void* stream) {
  beamspace({.input = p.memory.input,
             .dft = p.tables.dft,
             .rotation = p.tables.rotation,
             .sizes = p.shape.sizes,
             .y = p.memory.y,
             .scratch = p.memory.r_b,
             .power = p.memory.y_power},
            stream);
}

void enqueue_begin(const Plan& p, std::uint64_t, void* stream) {
  begin({.input = p.memory.input,
         .power = p.memory.y_power,
         .rules = p.rules,
         .known = p.known,
         .expected = p.expected,
         .sizes = p.shape.sizes,
         .slots = p.shape.slots(),
         .members = std::max(static_cast<int>(p.tables.networks.size()), 1),
         .control = p.memory.control,
         .slot = p.memory.slot,
         .support = p.memory.support,
         .s = p.memory.s,
         .r_pri = p.memory.r_pri,
         .idle = p.memory.idle,
         .activity = p.memory.activity,
         .remaining = p.memory.remaining},
        stream);
}

void enqueue_residual(const Plan& p, std::uint64_t, void* stream) {
  residual({.y = p.memory.y,
            .scale = word(p, &Control::scale),
            .gram = p.tables.gram,
            .r_pri = p.memory.r_pri,
            .pilots = p.tables.pilots,
            .basis = p.tables.basis,
            .s = p.memory.s,
            .device = p.memory.support,
            .count = word(p, &Control::slots),
            .enabled = word(p, &Control::going),
            .capacity = p.shape.slots(),
            .sizes = p.shape.sizes,
            .r = p.memory.r,
            .power = p.memory.power},
           stream);
}

void enqueue_module_a(const Plan& p, std::uint64_t, void* stream) {
  module_a({.control = p.memory.control,
            .power = p.memory.power,
            .gram = p.tables.gram,
            .r_pri = p.memory.r_pri,
            .r = p.memory.r,
            .mean_gram = p.mean_gram,
            .uniform = p.uniform,
            .rules = p.rules,
            .sizes = p.shape.sizes,
            .v_a = p.memory.v_a,
            .eta = p.memory.eta,
            .v_b = p.memory.v_b,
            .r_b = p.memory.r_b,
            .history = p.memory.history},
           stream);
}

void enqueue_statistics(const Plan& p, std::uint64_t, void* stream) {
  const DetectionTables& t = p.tables;
  const StatisticsOutput out{.z = nullptr, .energy = p.memory.energy, .merge = p.shape.merged()};
  const std::int32_t* const enabled = word(p, &Control::test);
  if (p.shape.statistics == kSpectral) {
    spectral({.r = p.memory.r_b,
              .rows = t.rows,
              .amplitude = t.amplitude,
              .fft = t.fft,
              .basis = t.basis,
              .parts = parts(p),
              .enabled = enabled,
              .sizes = p.shape.sizes,
              .idle = p.memory.idle,
              .out = out,
              .idle_energy = p.memory.idle_energy},
             stream);
  } else if (p.shape.statistics == kSpectralLarge) {
    spectral_large({.r = p.memory.r_b,
                    .rows = t.rows,
                    .twiddle = t.pilots.twiddle,
                    .first = t.first,
                    .first_fft = t.first_fft,
                    .second_fft = t.second_fft,
                    .basis = t.basis,
                    .parts = parts(p),
                    .enabled = enabled,
                    .sizes = p.shape.sizes,
                    .work = p.memory.work,
                    .out = out},
                   stream);
  } else {
    direct({.r = p.memory.r_b,
            .pilots = t.pilots,
            .basis = t.basis,
            .parts = parts(p),
            .enabled = enabled,
            .sizes = p.shape.sizes,
            .out = out},
           stream);
  }
}

void enqueue_activity_table(const Plan& p, std::uint64_t, void* stream) {
  activity_table({.energies = energies(p),
                  .sums = p.shape.statistics == kSpectral ? p.memory.idle_energy : nullptr,
                  .idle = p.memory.idle,
                  .idle_count = word(p, &Control::idle),
                  .v = p.memory.v_b,
                  .mixture = p.tables.mixture,
                  .enabled = word(p, &Control::test),
                  .rules = p.rules,
                  .null = p.memory.null,
                  .slope = p.memory.slope,
                  .offset = p.memory.offset},
                 stream);
}

void enqueue_activity(const Plan& p, std::uint64_t, void* stream) {
  activity({.energies = energies(p),
            .slope = p.memory.slope,
            .offset = p.memory.offset,
            .mixture = p.tables.mixture,
            .enabled = word(p, &Control::test),
            .control = p.memory.control,
            .log_odds = p.log_odds,
            .rules = p.rules,
            .llr = p.memory.llr,
            .posterior = p.memory.posterior,
            .idle = p.memory.idle},
           stream);
}

void enqueue_select_candidates(const Plan& p, std::uint64_t loop, void* stream) {
  select_candidates({.control = p.memory.control,
                     .llr = p.memory.llr,
                     .posterior = p.memory.posterior,
                     .idle = p.memory.idle,
                     .rules = p.rules,
                     .devices = p.shape.sizes.devices,
                     .capacity = p.shape.capacity,
                     .slots = p.shape.slots(),
                     .batch = p.shape.sizes.batch,
                     .device = p.memory.device,
                     .chosen = p.memory.chosen,
                     .free = p.memory.free,
                     .slot = p.memory.slot,
                     .support = p.memory.support,
                     .place = p.memory.place,
                     .remaining = p.memory.remaining,
                     .loop = loop,
                     .learn_rate = p.learn_rate,
                     .log_odds = p.log_odds},
                    stream);
}

void enqueue_gather(const Plan& p, std::uint64_t, void* stream) {
  gather({.r = p.memory.r_b,
          .pilots = p.tables.pilots,
          .basis = p.tables.basis,
          .parts = parts(p),
          .device = p.memory.device,
          .count = word(p, &Control::candidates),
          .enabled = word(p, &Control::run),
          .v_b = p.memory.v_b,
          .mean_v = word(p, &Control::error),
          .known = p.tables.mixture.powers == 1,
          .rules = p.rules,
          .capacity = p.shape.capacity,
          .sizes = p.shape.sizes,
          .z = p.memory.z,
          .power = p.memory.device_power,
          .noise = p.memory.noise,
          .mean = p.closed_form ? p.memory.mean : nullptr,
          .var = p.closed_form ? p.memory.var : nullptr},
         stream);
}

// The networks of a cascade one after another; those whose turn it is not end at once.
void enqueue_denoise(const Plan& p, std::uint64_t, void* stream) {
  int member = 0;
  for (const NetworkTables& network : p.tables.networks) {
    const auto launch = network.tensor ? &beam_network_tensor : &beam_network;
    launch({.z = p.memory.z,
            .noise = p.memory.noise,
            .eigenvalue = network.eigenvalue,
            .weights = network.weights,
            .dilation = network.dilation,
            .shape = network.shape,
            .count = word(p, &Control::candidates),
            .enabled = word(p, &Control::run),
            .turn = word(p, &Control::member),
            .member = member++,
            .step = kControlWords,
            .capacity = p.shape.capacity,
            .sizes = p.shape.sizes,
            .mean = p.memory.mean,
            .var = p.memory.var},
           stream);
  }
}

void enqueue_update(const Plan& p, std::uint64_t, void* stream) {
  update({.control = p.memory.control,
          .candidates = {.posterior = p.memory.chosen,
                         .power = p.memory.device_power,
                         .mean = p.memory.mean,
                         .var = p.memory.var,
                         .device = p.memory.device},
          .v_b = p.memory.v_b,
          .posterior = p.memory.posterior,
          .r_b = p.memory.r_b,
          .place = p.memory.place,
          .rules = p.rules,
          .capacity = p.shape.capacity,
          .slots = p.shape.slots(),
          .sizes = p.shape.sizes,
          .v_a = p.memory.v_a,
          .slot = p.memory.slot,
          .support = p.memory.support,
          .s = p.memory.s,
          .r_pri = p.memory.r_pri,
          .kept = kept(p),
          .activity = p.memory.activity,
          .history = p.memory.history},
         stream);
}

void enqueue_decide(const Plan& p, std::uint64_t, void* stream) {
  decide({.control = p.memory.control,
          .kept = kept(p),
          .rules = p.rules,
          .capacity = p.shape.capacity,
          .devices = p.shape.sizes.devices,
          .batch = p.shape.sizes.batch,
          .activity = p.memory.activity,
          .device = p.memory.decided,
          .index = p.memory.index},
         stream);
}

// What the decision leaves of the block.
void enqueue_remainder(const Plan& p, std::uint64_t, void* stream) {
  residual({.y = p.memory.y,
            .scale = word(p, &Control::scale),
            .gram = nullptr,
            .r_pri = nullptr,
            .pilots = p.tables.pilots,
            .basis = p.tables.basis,
            .s = p.memory.kept_mean,
            .device = p.memory.decided,
            .count = word(p, &Control::kept),
            .enabled = nullptr,
            .capacity = p.shape.capacity,
            .sizes = p.shape.sizes,
            .r = p.memory.r,
            .power = p.memory.power},
           stream);
}

void enqueue_finish(const Plan& p, std::uint64_t, void* stream) {
  finish({.control = p.memory.control,
          .power = p.left,
          .kept = kept(p),
          .index = p.memory.index,
          .basis = p.tables.basis,
          .dft = p.tables.dft,
          .gain = p.tables.gain,
          .rules = p.rules,
          .sizes = p.shape.sizes,
          .capacity = p.shape.capacity,
          .active = p.memory.active,
          .channels = p.memory.channels,
          .channel_var = p.memory.channel_var,
          .activity = p.memory.activity},
         stream);
}

constexpr std::array kFirst{Step{"beamspace", &enqueue_beamspace}, Step{"begin", &enqueue_begin}};
constexpr std::array kIteration{
    Step{"residual", &enqueue_residual},     Step{"module_a", &enqueue_module_a},
    Step{"statistics", &enqueue_statistics}, Step{"activity_table", &enqueue_activity_table},
    Step{"activity", &enqueue_activity},     Step{"select_candidates", &enqueue_select_candidates},
    Step{"gather", &enqueue_gather},         Step{"denoise", &enqueue_denoise},
    Step{"update", &enqueue_update}};
constexpr std::array kLast{Step{"decide", &enqueue_decide}, Step{"remainder", &enqueue_remainder},
                           Step{"finish", &enqueue_finish}};

}  // namespace

std::span<const Step> first_steps() { return kFirst; }
std::span<const Step> iteration_steps() { return kIteration; }
std::span<const Step> last_steps() { return kLast; }

}  // namespace jadce::cuda

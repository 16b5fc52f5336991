// A detection on a GPU: its memory, its kernels in order, and what each of them is given. The loop is loop/loop.hpp's,
// as on the CPU; kernels keep its state in a Control per received block, so that one launch of a graph is a whole
// detection of a batch. Conventions as in kernels/pilot_transform/pilot_transform_cuda.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include "core/graph_cuda.hpp"
#include "core/shapes.hpp"
#include "kernels/activity/activity_cuda.hpp"
#include "kernels/beam_network/beam_network_cuda.hpp"
#include "kernels/detection/detection_cuda.hpp"
#include "kernels/pilot_transform/pilot_transform_cuda.hpp"
#include "kernels/posterior/posterior_cuda.hpp"
#include "loop/control.hpp"
#include "loop/rules.hpp"

namespace jadce::cuda {

// Kernel of the statistics of all devices: a transform in one block's shared memory, one in two passes, or products.
enum Statistics : int { kSpectral, kSpectralLarge, kDirect };

// Iterations in a pass of a graph's loop: the kernels of one that does nothing take as long as two passes by
// themselves.
inline constexpr int kRounds = 2;

struct DetectionShape {
  Sizes sizes;
  int capacity;  // most candidates of an iteration
  int merge;     // coefficients in a group of the test of activity
  int products;  // U of its mixture
  int max_iterations;
  int statistics;  // a Statistics

  int slots() const { return std::min(sizes.devices, 2 * capacity); }
  int groups() const { return (sizes.coefficients + merge - 1) / merge; }
  // Coefficients in an energy. One pass over all coefficients at once stores the energy of each; the other ways add
  // them up as they go.
  int merged() const { return statistics == kSpectral ? 1 : merge; }
  int rows() const { return (sizes.coefficients + merged() - 1) / merged(); }
};

// What kernels work on, for B received blocks one after another; each_buffer() has the shapes.
struct DetectionMemory {
  Complex *y, *r_pri, *r, *r_b, *z, *mean, *kept_mean, *s, *channels, *work;
  float *v_a, *eta, *v_b, *power, *energy, *idle_energy, *null, *slope, *offset, *llr, *posterior, *activity, *chosen,
      *device_power, *kept_posterior, *kept_var, *channel_var, *noise, *var, *history;
  double* y_power;
  std::uint8_t* idle;
  std::int32_t *slot, *device, *kept_device, *decided, *index, *free, *support, *place, *remaining;
  std::int64_t* active;
  Control* control;
  Input* input;
};

// Calls f(name, pointer, shape of a block's part) for every buffer. Of `remaining` and `input` the first block's serve
// all.
template <class F>
void each_buffer(DetectionMemory& m, const DetectionShape& shape, F f) {
  const index_t k = shape.sizes.devices, n = shape.sizes.subcarriers, t = shape.sizes.symbols, a = shape.sizes.antennas,
                p = shape.sizes.coefficients, c = shape.capacity, s = shape.slots(), rows = shape.rows(),
                groups = shape.groups(), products = (shape.products + 3) / 4 * 4;
  // What the host reads of every detection, and results: side by side.
  f("control", m.control, {1});
  f("history", m.history, {shape.max_iterations, 2});
  f("active", m.active, {c});
  f("channel_var", m.channel_var, {c});
  f("activity", m.activity, {k});
  f("channels", m.channels, {c, n, a});
  // Measurement space.
  f("y", m.y, {t, n, a});
  f("r_pri", m.r_pri, {t, n, a});
  f("r", m.r, {t, n, a});
  f("r_b", m.r_b, {t, n, a});
  f("v_a", m.v_a, {a});
  f("eta", m.eta, {a});
  f("v_b", m.v_b, {a});
  f("power", m.power, {n, a});
  f("y_power", m.y_power, {n});
  // All devices.
  f("energy", m.energy, {rows, a, k});
  f("idle_energy", m.idle_energy, {p, a});
  f("null", m.null, {groups, a});
  f("slope", m.slope, {a, products, groups});
  f("offset", m.offset, {a, products});
  f("llr", m.llr, {k});
  f("posterior", m.posterior, {k});
  f("idle", m.idle, {k});
  f("slot", m.slot, {k});
  if (shape.statistics == kSpectralLarge) f("work", m.work, {a, k});
  // Candidates, the best output so far, and which of it is active.
  f("device", m.device, {c});
  f("chosen", m.chosen, {c});
  f("device_power", m.device_power, {c});
  f("z", m.z, {c, p, a});
  f("noise", m.noise, {c, a});
  f("mean", m.mean, {c, p, a});
  f("var", m.var, {c, a});
  f("kept_device", m.kept_device, {c});
  f("kept_posterior", m.kept_posterior, {c});
  f("kept_var", m.kept_var, {c});
  f("kept_mean", m.kept_mean, {c, p, a});
  f("decided", m.decided, {c});
  f("index", m.index, {c});
  // The part S of the state.
  f("free", m.free, {s});
  f("support", m.support, {s});
  f("place", m.place, {s});
  f("s", m.s, {s, p, a});
  f("remaining", m.remaining, {1});
  f("input", m.input, {1});
}

// A beam network of a prior, packed for its kernel: on tensor cores, or in single precision.
struct NetworkTables {
  const float* eigenvalue;       // [P]
  const void* weights;           // as BeamNetworkArgs has them
  const std::int32_t* dilation;  // [blocks]
  NetworkShape shape;
  int tensor;  // 1: on tensor cores
};

// Tables of a detection in device memory. Those of the statistics are planned by plan_statistics().
struct DetectionTables {
  const float* gram;        // [N, T]
  const Complex* basis;     // [N, P], or null: identity, P = N
  const Complex* dft;       // [M] as BeamspaceArgs has it, or null
  const Complex* rotation;  // [N, T, T], or null
  const float* gain;        // [K]
  PilotTables pilots;
  ActivityView mixture;
  RowOrder rows;                             // of transforms
  FftTables fft;                             // of kSpectral
  float amplitude;                           // of its pilots
  int first;                                 // of kSpectralLarge: K1,
  FftTables first_fft, second_fft;           // K1 and K2 points
  std::vector<NetworkTables> networks = {};  // of one prior, or of a cascade's members in turn
};

struct DetectionPlan {
  DetectionShape shape;
  DetectionMemory memory;
  DetectionTables tables;
  Rules rules;
  float log_odds;  // of activity, or those to begin with
  int learn_rate;
  float known;      // mean power of an active device, or 0
  float expected;   // active devices
  int closed_form;  // the prior is the i.i.d. Gaussian one, which gather() applies
  float mean_gram;
  bool uniform;       // all of gram are equal
  const float* left;  // [B, N, M] power of what the result leaves of the block, of which it is judged
};

// Enqueues a kernel of a detection on a stream; `loop` is the handle of the graph's loop, or kNoLoop.
struct Step {
  const char* name;
  void (*enqueue)(const DetectionPlan&, std::uint64_t loop, void* stream);
};

// Kernels before the loop, of an iteration and after the loop, in order. "denoise" does nothing without networks.
std::span<const Step> first_steps();
std::span<const Step> iteration_steps();
std::span<const Step> last_steps();

}  // namespace jadce::cuda

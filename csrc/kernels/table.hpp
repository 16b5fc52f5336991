// The kernels of one instruction set, as a table of functions.
//
// Each function does one task (`task` says which) of a parallel job and writes nothing that another task reads.
// Structs come by value: compilers keep copies in registers that stores cannot change.
#pragma once

#include <cstdint>

#include "core/shapes.hpp"
#include "kernels/activity/activity.hpp"
#include "kernels/langevin/langevin.hpp"
#include "kernels/pilot_transform/pilot_transform.hpp"
#include "kernels/repeated/repeated.hpp"

namespace jadce {

struct BeamNetworkView;

// Of some symbols, which follow upon those that came before.
struct BeamspaceArgs {
  const Shape& shape;
  index_t first, count;   // symbols
  const float* y;         // [count, N, M, 2]
  const float* dft;       // [M, 2, Mp]
  const float* rotation;  // [N, T, T, 2], or null: none
  float* scratch;         // [count, 2, Mp], with `rotation`
  float* out;             // [N, T, 2, Mp]
};

// Of some devices; points are what they send or receive on every subcarrier, before the pilots.
struct CorrelateArgs {
  const Shape& shape;
  index_t count;        // devices, at most kTogether
  const float* pilots;  // [N, count, T, 2], pilots_row floats from one subcarrier to the next
  index_t pilots_row;
  const float* r;  // [N, T, 2, Mp]
  float* points;   // [N, count, 2, Mp]
};

struct ResidualArgs {
  const Shape& shape;
  const float* y;       // [N, T, 2, Mp], or null: zero; may be r
  const float* gram;    // [N, T], null with r_pri
  const float* r_pri;   // [N, T, 2, Mp] R, or null: zero
  index_t count;        // devices, at most kTogether
  const float* pilots;  // [N, count, T, 2], pilots_row floats from one subcarrier to the next
  index_t pilots_row;
  const float* points;  // [N, count, 2, Mp]
  float* r;             // [N, T, 2, Mp]
  float* power;         // [N, Mp] sum over t of |r|^2
};

struct ModuleAArgs {
  const Shape& shape;
  const float* gram;  // [N, T]
  const float* v;     // [Mp]
  const float* eta;   // [Mp]
  float noise;
  const float* r_pri;  // [N, T, 2, Mp] R
  float* r;            // [N, T, 2, Mp] the residual before, R~ after
};

// Energies of all devices, as spectral_energy lays them out.
struct NullEnergyArgs {
  const TransformView& transform;
  const unsigned char* idle;  // [K]
  index_t count;              // number of idle devices
  const float* energy;        // [groups, Mp / W, K, W]
  const float* multiplicity;  // [groups]
  float* null;                // [groups, Mp]
};

struct ActivityTableArgs {
  const Shape& shape;
  index_t groups;
  const ActivityView& mixture;
  const float* null;  // [groups, Mp]
  float* slope;       // [Mp / W, U, groups, W]
  float* offset;      // [Mp / W, U, W]
};

struct ActivityArgs {
  const Shape& shape;
  index_t groups;
  const ActivityView& mixture;
  const float* energy;  // [groups, Mp / W, K, W]
  const float* slope;   // [Mp / W, U, groups, W]
  const float* offset;  // [Mp / W, U, W]
  float* llr;           // [K] without the prior's log odds
};

struct CombineArgs {
  const Shape& shape;
  float gamma;
  const float* a;  // [Mp]
  const float* b;  // [Mp]
  float weight;
  const float* h;  // [2 P, Mp], or null: zero
  float* s;        // [2 P, Mp]
};

struct DampArgs {
  const Shape& shape;
  float gamma;
  const float* b;    // [Mp]
  const float* r_b;  // [N, T, 2, Mp] R~
  float* r_pri;      // [N, T, 2, Mp] R before and after
};

// What some devices send or receive on every subcarrier, before the pilots, and their coefficients.
struct PointsArgs {
  index_t count;
  float* points;  // [N, count, 2, Mp]
  float* z;       // [count, 2 P, Mp]
};

// A job of kernels that take part of the beams has a task for each of `count` subcarriers or devices and
// Shape::together beams, those of the same beams one after the other: threads then find what they left in their caches.
JADCE_INLINE index_t tasks(const Shape& shape, index_t count) { return shape.lanes / shape.together() * count; }

struct KernelTable {
  const char* name;
  index_t width;  // W, beams handled as one vector; energies are laid out [groups, Mp / W, K, W]

  // y to beamspace, rotated over symbols. One task a subcarrier.
  void (*beamspace)(BeamspaceArgs, index_t task);

  // The pilots' part of the statistics, points[n, a] = sum_t conj(q[t, n, a]) r[t, n]. tasks(N).
  void (*correlate)(CorrelateArgs, index_t task);

  // The basis' part, z = V^H points; and points = V z of devices that send z. tasks(count).
  void (*analyse)(const TransformView&, PointsArgs, index_t task);
  void (*synthesise)(const TransformView&, PointsArgs, index_t task);

  // r = y - gram R - sum_a q[t, n, a] points[n, a]. tasks(N).
  void (*residual)(ResidualArgs, index_t task);

  // R~ = R + gain[n, t, b] r in place of r, with gain = (v / (v gram + noise)) / eta. tasks(N).
  void (*module_a)(ModuleAArgs, index_t task);

  // Energies |z + S|^2 of all devices by one K-point transform per coefficient, partial-DFT pilots only.
  // One task per (group, W beams); scratch: two transform buffers. With `lags` it leaves S out.
  void (*spectral_energy)(const TransformView&, index_t task, const float* r, const Support&, float* scratch,
                          float* energy);

  // The same statistics themselves for one coefficient and W beams -> z [K, 2 P, Mp]. One task per (coefficient, W
  // beams).
  void (*spectral_statistics)(const TransformView&, index_t task, const float* r, float* scratch, float* z);

  // Energies of one device from z [2 P, Mp], into the layout of spectral_energy.
  void (*spread_energy)(const TransformView&, index_t device, const float* z, float* energy);

  // Mean energy of the idle devices divided by the multiplicity. One task per (group, W beams).
  void (*null_energy)(NullEnergyArgs, index_t task);

  // Coefficients of the likelihood ratio. One task per W beams.
  void (*activity_table)(ActivityTableArgs, index_t task);

  // Log-likelihood ratios from energies. One task per kActivityChunk devices.
  void (*activity)(ActivityArgs, index_t task);

  // Module B of one device under an i.i.d. Gaussian channel of unit power per coefficient (BG-TMP): z, h [2 P, Mp];
  // v, var [Mp] with var the error variance summed over coefficients / N.
  void (*gaussian)(const Shape&, const float* z, const float* v, float* h, float* var);

  // S = (1 - gamma - gamma b) S + gamma a weight h of one device, in place. tasks(1).
  void (*combine)(CombineArgs, index_t task);

  // R = (1 - gamma) R - gamma b R~ in place. tasks(N).
  void (*damp)(DampArgs, index_t task);

  // channel [N, M, 2] = IDFT over beams of V h scaled by `scale`; dft [M, 2, Mp]; scratch [N, 2, Mp].
  void (*channel)(const TransformView&, float* h, float scale, const float* dft, float* scratch, float* channel);

  // Covariance of one coefficient and W beams of a block with repeated pilots, factored. One task per (coefficient, W
  // beams).
  void (*repeated_factor)(RepeatedFactorArgs, index_t task);

  // Coefficients of `count` devices, each as all others and the noise show it.
  void (*cavity)(const CavityArgs&, index_t first, index_t count);

  // The beam network on one device (beam_network.hpp).
  void (*network)(const BeamNetworkView&, const float* z, const float* v, float* scratch, float* h, float* var);

  // The same with bfloat16 operands.
  void (*network_bf16)(const BeamNetworkView&, const float* z, const float* v, float* scratch, float* h, float* var);
  bool fast_bf16;  // by instructions for them, not by rounding

  // One Langevin step of one chain, in place.
  void (*langevin_step)(const ChainShape&, const LevelView&, NoiseKey, const DenoisedView&, const ChainView&);

  // Exact posterior of columns from their energies [Kp]: gain (the mean is gain x), variance, probability [Kp].
  void (*column_posterior)(const ChainShape&, const MixtureView&, const float* energy, float* gain, float* variance,
                           float* probability);

  // The columns whose denoised ones are not negligible, `counting` [K], and how many; gain [Kp], zero elsewhere.
  index_t (*counting_columns)(const ChainShape&, const MixtureView&, const float* energy, float* gain,
                              std::int32_t* counting);

  // matrix [K, 2, Kp] += weight u u^H, u [2, Kp].
  void (*add_outer)(const ChainShape&, float weight, const float* u, float* matrix);

  // Upper triangular R in place of the Hermitian matrix R^H R, of which only the upper triangle is read.
  void (*cholesky)(const ChainShape&, float* matrix);

  // matrix [K, 2, Kp] as the step wants it.
  void (*pack)(const ChainShape&, const float* matrix, float* packed);
};

// The variant called `isa`, or with null the best one that this processor runs. Throws std::invalid_argument.
const KernelTable& table(const char* isa = nullptr);

}  // namespace jadce

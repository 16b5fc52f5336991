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

struct BeamspaceArgs {
  const Shape& shape;
  const float* y;         // [T, N, M, 2]
  const float* dft;       // [M, 2, Mp]
  const float* rotation;  // [N, T, T, 2], or null: none
  float* scratch;         // [T, 2, Mp]
  float* out;             // [N, T, 2, Mp]
};

struct ResidualArgs {
  const TransformView& transform;
  const float* y;      // [N, T, 2, Mp], or null: zero
  const float* gram;   // [N, T], null with r_pri
  const float* r_pri;  // [N, T, 2, Mp] R, or null: zero
  const Support& support;
  float* scratch;  // [kDevices, 2, Mp]
  float* r;        // [N, T, 2, Mp]
  float* power;    // [N, Mp] sum over t of |r|^2
};

struct ModuleAArgs {
  const Shape& shape;
  const float* gram;  // [N, T]
  const float* v;     // [Mp]
  const float* eta;   // [Mp]
  float noise;
  const float* r;  // [N, T, 2, Mp]
  float* message;  // [N, T, 2, Mp] R before, R~ after
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
  const float* old;  // [N, T, 2, Mp] R of the iteration before
  float* r_pri;      // [N, T, 2, Mp], may be r_b
};

struct KernelTable {
  const char* name;
  index_t width;  // W, beams handled as one vector; energies are laid out [groups, Mp / W, K, W]

  // y to beamspace, rotated over symbols. One task a subcarrier.
  void (*beamspace)(BeamspaceArgs, index_t task);

  // r = y - gram R - Q S. One task a subcarrier.
  void (*residual)(ResidualArgs, index_t task);

  // R~ = R + gain[n, t, b] r in place of R, with gain = (v / (v gram + noise)) / eta. One task a subcarrier.
  void (*module_a)(ModuleAArgs, index_t task);

  // Energies |z + S|^2 of all devices by one K-point transform per coefficient, partial-DFT pilots only.
  // One task per (group, W beams); scratch: two transform buffers.
  void (*spectral_energy)(const TransformView&, index_t task, const float* r, const Support&, float* scratch,
                          float* energy);

  // The same statistics themselves for one coefficient and W beams -> z [K, 2 P, Mp]. One task per (coefficient, W
  // beams).
  void (*spectral_statistics)(const TransformView&, index_t task, const float* r, float* scratch, float* z);

  // z [2 P, Mp] of one device by direct correlation.
  void (*gather)(const TransformView&, index_t device, const float* r, float* z);

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

  // S = (1 - gamma - gamma b) S + gamma a weight h of one device, in place.
  void (*combine)(CombineArgs);

  // R = (1 - gamma) R_old - gamma b R~. One task a subcarrier.
  void (*damp)(DampArgs, index_t task);

  // channel [N, M, 2] = IDFT over beams of V h scaled by `scale`; dft [M, 2, Mp]; scratch [2, Mp].
  void (*channel)(const TransformView&, const float* h, float scale, const float* dft, float* scratch, float* channel);

  // Covariance of one coefficient and W beams of a block with repeated pilots, factored. One task per (coefficient, W
  // beams).
  void (*repeated_factor)(RepeatedFactorArgs, index_t task);

  // Coefficients of `count` devices, each as all others and the noise show it.
  void (*cavity)(const CavityArgs&, index_t first, index_t count);

  // The beam network on one device (beam_network.hpp).
  void (*network)(const BeamNetworkView&, const float* z, const float* v, float* scratch, float* h, float* var);

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

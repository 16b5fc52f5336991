// The kernels of one instruction set, as a table of functions.
//
// Each function does one task (`task` says which) of a parallel job and writes nothing that another task reads.
#pragma once

#include <cstdint>

#include "core/shapes.hpp"
#include "kernels/activity/activity.hpp"
#include "kernels/langevin/langevin.hpp"
#include "kernels/pilot_transform/pilot_transform.hpp"

namespace jadce {

struct BeamNetworkView;

struct KernelTable {
  const char* name;
  index_t width;  // W, beams handled as one vector; energies are laid out [groups, Mp / W, K, W]

  // y [T, N, M, 2] to beamspace, rotated over symbols by `rotation` [N, T, T, 2] if not null -> out [N, T, 2, Mp].
  // dft [M, 2, Mp]; scratch [T, 2, Mp]; one task a subcarrier.
  void (*beamspace)(const Shape&, index_t task, const float* y, const float* dft, const float* rotation, float* scratch,
                    float* out);

  // r = y - gram * R - Q S, all [N, T, 2, Mp]; gram [N, T]; power [N, Mp] gets sum over t of |r|^2. One task a
  // subcarrier. y or R may be null (taken as zero). scratch [kDevices, 2, Mp].
  void (*residual)(const TransformView&, index_t task, const float* y, const float* gram, const float* big,
                   const Support&, float* scratch, float* r, float* power);

  // seen = R + gain[n, t, b] * r in place of R, with gain = (v / (v gram + noise)) / eta; v, eta [Mp]. A task a
  // subcarrier.
  void (*observe)(const Shape&, index_t task, const float* gram, const float* v, const float* eta, float noise,
                  const float* r, float* big);

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

  // null [groups, Mp]: mean energy of the devices with quiet[k] != 0 (`count` of them) divided by the multiplicity.
  // One task per (group, W beams).
  void (*null_energy)(const TransformView&, index_t task, const unsigned char* quiet, index_t count,
                      const float* energy, const float* multiplicity, float* null);

  // Coefficients of the likelihood ratio for W beams: slope [Mp/W, U, groups, W], offset [Mp/W, U, W]. One task per W
  // beams.
  void (*activity_table)(const Shape&, index_t groups, index_t task, const ActivityView&, const float* null,
                         float* slope, float* offset);

  // llr [K] of devices first ... last - 1 (without the prior's log odds), from energies.
  void (*activity)(const Shape&, index_t groups, index_t first, index_t last, const ActivityView&, const float* energy,
                   const float* slope, const float* offset, float* llr);

  // Module B of one device under an i.i.d. Gaussian channel of unit power per coefficient (BG-TMP): z, h [2 P, Mp];
  // v, var [Mp] with var the error variance summed over coefficients / N.
  void (*gaussian)(const Shape&, const float* z, const float* v, float* h, float* var);

  // s = (1 - gamma - gamma b) s + gamma a weight h, in place; a, b [Mp]; h null is zero.
  void (*combine)(const Shape&, float gamma, const float* a, const float* b, float weight, const float* h, float* s);

  // R = (1 - gamma) R_old - gamma b seen. One task a subcarrier.
  void (*damp)(const Shape&, index_t task, float gamma, const float* b, const float* seen, const float* old,
               float* big);

  // channel [N, M, 2] = IDFT over beams of V h scaled by `scale`; dft [M, 2, Mp]; scratch [2, Mp].
  void (*channel)(const TransformView&, const float* h, float scale, const float* dft, float* scratch, float* channel);

  // The beam network on one device (beam_network.hpp).
  void (*network)(const BeamNetworkView&, const float* z, const float* v, float* scratch, float* h, float* var);

  // One Langevin step of one chain: x [N, 2, Mp] in place, energy [Np] gets the columns'. scratch [N, 7, W].
  void (*langevin_step)(const ChainShape&, const LevelView&, NoiseKey, const DenoisedView&, float* scratch, float* x,
                        float* energy);

  // Exact posterior of columns from their energies [Np]: gain (the mean is gain x), variance, probability [Np].
  void (*column_posterior)(const ChainShape&, const MixtureView&, const float* energy, float* gain, float* variance,
                           float* probability);

  // The columns whose denoised ones are not negligible, `counting` [N], and how many; gain [Np], zero elsewhere.
  index_t (*counting_columns)(const ChainShape&, const MixtureView&, const float* energy, float* gain,
                              std::int32_t* counting);

  // matrix [N, 2, Np] += weight u u^H, u [2, Np].
  void (*add_outer)(const ChainShape&, float weight, const float* u, float* matrix);

  // Upper triangular R in place of the Hermitian matrix R^H R, of which only the upper triangle is read.
  void (*cholesky)(const ChainShape&, float* matrix);

  // matrix [N, 2, Np] as the step wants it.
  void (*pack)(const ChainShape&, const float* matrix, float* packed);
};

// The variant called `isa`, or with null the best one that this processor runs. Throws std::invalid_argument.
const KernelTable& table(const char* isa = nullptr);

}  // namespace jadce

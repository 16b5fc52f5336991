// What a receiver plans before a block arrives, stated once for Python and for the C library.
#pragma once

#include <vector>

#include "core/shapes.hpp"
#include "receiver/stmp.hpp"

namespace jadce {

inline constexpr double kFirstRate = 0.05;  // an activity rate that is learned begins here

// Root mean squares [K] of pilots [T, N, K].
std::vector<double> amplitudes(const cfloat* pilots, index_t measurements, index_t devices);

// Pilots other than a partial DFT, and the rotation over symbols after which every measurement has its own gain.
struct RotatedPilots {
  std::vector<float> gram;       // [N, T] eigenvalues of Q_n Q_n^H, ascending
  std::vector<cfloat> rotation;  // [N, T, T] U_n^H
  std::vector<cfloat> array;     // [N, K, T] U_n^H Q_n
};
// pilots [T, N, K], of which device k's are divided by over[k]; `over` may be empty.
RotatedPilots rotated_pilots(const cfloat* pilots, const Shape& shape, const std::vector<double>& over, int threads);

// A prior's mixture of a beam's gain and a device's power, for the activity test.
struct Mixture {
  std::vector<float> eigenvalue;    // [P] mean power of every coefficient of a unit-power channel
  std::vector<float> gain, weight;  // [G], the weights sum to one
  std::vector<float> power, share;  // [J] of a device, the same
  std::vector<float> multiplicity;  // [P] coefficients that share one energy
};
ActivityPlan activity_plan(const Mixture& mixture);

// Energies are summed over so many neighbouring coefficients: where none differs one may serve several.
index_t merged(const std::vector<float>& eigenvalue);

// Received powers that are looked for where they are not known, over the mean of the active devices. Without structure,
// or over a few antennas, energy cannot tell a very weak device from uneven noise.
std::vector<float> power_levels(bool flat, index_t antennas);

// The activity test of a receiver whose prior has this basis and mixture of beams, and whose devices send with these
// amplitudes.
ActivityPlan receiver_activity(Mixture beams, const std::vector<double>& amplitude, index_t antennas, bool known_power);

// Rules for a number of antennas. The information by which an active device differs from noise of variance one, its
// mean log-likelihood ratio, is M times that of an antenna. Fewer than 32, for which `decodable` and
// `smallest_mean_power` are, have as much of stronger devices only: both rise by as much.
Rules rules_of(Rules rules, index_t antennas, const Mixture& beams);

// Most candidates of one iteration; `asked` is zero if nobody said.
index_t most_candidates(const Rules& rules, double rate, index_t devices, index_t asked);

// What the loop assumes of devices with these amplitudes; `power` is zero if it is unknown.
struct Assumed {
  double log_odds, power, expected;
};
Assumed assumed(double rate, double power, const std::vector<double>& amplitude);

}  // namespace jadce

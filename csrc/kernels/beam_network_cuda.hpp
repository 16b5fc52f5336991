// The shipped score network on a GPU, in single precision; beam_network.hpp is the CPU's and documents the weights.
// Conventions as in pilot_transform_cuda.hpp.
#pragma once

#include <cstdint>

namespace jadce::cuda {

// Posterior mean [capacity, P, M, 2] and error variance var [capacity, M] of the channels observed as z [capacity, P,
// M, 2] in noise [capacity, M]; python/jadce_fast/network.py is the contract. weights: packed as for BeamNetworkView;
// width (taps + 1) must be a multiple of four. dilation [blocks], eigenvalue [P]. A candidate's activations stay in
// shared memory: 290 antennas of the smallest shipped network, 137 of the largest.
void beam_network(const float* z, const float* noise, const float* eigenvalue, const float* weights,
                  const std::int32_t* dilation, const std::int32_t* count, int capacity, int subcarriers, int antennas,
                  int coefficients, int width, int hidden, int blocks, int taps, float* mean, float* var, void* stream);

}  // namespace jadce::cuda

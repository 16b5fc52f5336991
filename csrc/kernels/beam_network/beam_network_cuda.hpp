// The shipped score network on a GPU; beam_network.hpp is the CPU's and documents the weights in single precision.
// Conventions as in pilot_transform_cuda.hpp.
#pragma once

#include <cstdint>

namespace jadce::cuda {

// Posterior mean [batch, capacity, P, M, 2] and error variance var [batch, capacity, M] of the channels observed as z
// [batch, capacity, P, M, 2] in noise [batch, capacity, M]; python/jadce_fast/priors/beam_network.py is the contract.
// Block b has count[b * step] candidates, and none if go[b * step] is zero; go may be null. dilation [blocks],
// eigenvalue [P].
//
// In single precision, a check of the next and the choice where that does not fit. weights: packed as for
// BeamNetworkView; width (taps + 1) must be a multiple of four. A candidate's activations stay in shared memory: on
// compute capability 9.0, 290 antennas of the smallest shipped network, 137 of the largest.
void beam_network(const float* z, const float* noise, const float* eigenvalue, const float* weights,
                  const std::int32_t* dilation, const std::int32_t* count, const std::int32_t* go, int step,
                  int capacity, int subcarriers, int antennas, int coefficients, int width, int hidden, int blocks,
                  int taps, int batch, float* mean, float* var, void* stream);
bool beam_network_fits(int antennas, int coefficients, int width, int hidden, int taps);

// The same on tensor cores: inputs and weights of dense layers are rounded to bfloat16, sums and all else are in single
// precision. weights: pack_dense_tensor and pack_depthwise_tensor of the layers in order, 16 bytes aligned. Any width
// and taps. A candidate's activations stay in shared memory, and with them all weights, or two layers' at a time.
void beam_network_tensor(const float* z, const float* noise, const float* eigenvalue, const std::uint32_t* weights,
                         const std::int32_t* dilation, const std::int32_t* count, const std::int32_t* go, int step,
                         int capacity, int subcarriers, int antennas, int coefficients, int width, int hidden,
                         int blocks, int taps, int batch, float* mean, float* var, void* stream);

// Whether that fits a multiprocessor of the current device: on compute capability 9.0, 416 antennas of the smallest
// shipped network, 144 of the largest.
bool beam_network_tensor_fits(int antennas, int coefficients, int width, int hidden, int blocks, int taps);

}  // namespace jadce::cuda

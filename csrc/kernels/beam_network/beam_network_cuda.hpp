// The shipped score network on a GPU; beam_network.hpp is the CPU's and documents the weights in single precision.
// Conventions as in pilot_transform_cuda.hpp.
#pragma once

#include <cstdint>

#include "core/complex_cuda.hpp"
#include "kernels/sizes.hpp"

namespace jadce::cuda {

// The architecture of a network (python/jadce_fast/priors/beam_network.py).
struct NetworkShape {
  int width, hidden, blocks, taps;
};

// Posterior mean and error variance of the channels observed as z; python/jadce_fast/priors/beam_network.py is the
// contract.
struct BeamNetworkArgs {
  const Complex* z;              // [B, capacity, P, M]
  const float* noise;            // [B, capacity, M]
  const float* eigenvalue;       // [P]
  const void* weights;           // layers in order of evaluation, packed for the kernel, 16 bytes aligned
  const std::int32_t* dilation;  // [blocks]
  NetworkShape shape;
  const std::int32_t* count;    // count[b * step] candidates of block b; null: capacity
  const std::int32_t* enabled;  // not enabled[b * step]: block b is left alone; null: all have work to do
  const std::int32_t* turn;     // turn[b * step] != member: block b is another network's; null: all are this one's
  int member;
  int step;
  int capacity;
  Sizes sizes;
  Complex* mean;  // [B, capacity, P, M]
  float* var;     // [B, capacity, M]
};

// The network in single precision. Its weights are of pack_dense and pack_depthwise; width (taps + 1) must be a
// multiple of four. A candidate's activations stay in shared memory: on compute capability 9.0, 290 antennas of the
// smallest shipped network, 137 of the largest.
void beam_network(const BeamNetworkArgs&, void* stream);
// Tells whether that takes this network.
bool beam_network_fits(const NetworkShape&, int coefficients, int antennas);

// The same on tensor cores: inputs and weights of dense layers are rounded to bfloat16, sums and all else are in single
// precision. Its weights are of pack_dense_tensor and pack_depthwise_tensor. Any width and taps. A candidate's
// activations stay in shared memory, and with them all weights, or two layers' at a time.
void beam_network_tensor(const BeamNetworkArgs&, void* stream);
// Tells whether that fits a multiprocessor of the current device: on compute capability 9.0, 416 antennas of the
// smallest shipped network, 144 of the largest.
bool beam_network_tensor_fits(const NetworkShape&, int coefficients, int antennas);

}  // namespace jadce::cuda

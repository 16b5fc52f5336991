// The beginning and the end of a detection on a GPU. Conventions as in pilot_transform_cuda.hpp.
#pragma once

#include <cstdint>

#include "core/complex_cuda.hpp"
#include "kernels/posterior/posterior_cuda.hpp"
#include "kernels/sizes.hpp"
#include "loop/control.hpp"
#include "loop/rules.hpp"

namespace jadce::cuda {

// The record from which the kernels of a planned detection learn what changes from call to call; one for all blocks.
struct Input {
  const Complex* y;  // [blocks, T, N, M]
  float noise_var;
  std::int32_t blocks;  // at most B; the other blocks have nothing to do
  float deadline;       // microseconds until results are wanted, infinite without a deadline
};

struct SetInputArgs {
  const Complex* y;  // [blocks, T, N, M]
  float noise_var;
  int blocks;
  float deadline;
  Input* input;  // [1]
};
void set_input(const SetInputArgs&, void* stream);

// The received block over beams, rotated over symbols if there is a rotation.
struct BeamspaceArgs {
  const Input* input;       // [1]
  const Complex* dft;       // [M] exp(-2 pi i j / M) / sqrt(M), or null: antennas stand for beams
  const Complex* rotation;  // [N, T, T], or null: none
  Sizes sizes;
  Complex* y;        // [B, T, N, M]
  Complex* scratch;  // [B, T, N, M], null with `rotation`
  double* power;     // [B, N] sum over t and antennas of |y|^2
};
void beamspace(const BeamspaceArgs&, void* stream);

// Scales the block and clears the state.
struct BeginArgs {
  const Input* input;   // [1]
  const double* power;  // [B, N]
  Rules rules;
  float known;     // mean power of an active device, or 0: what the block has above the noise over `expected`
  float expected;  // number of active devices
  Sizes sizes;
  int slots;
  int members;              // denoisers of the prior, one unless it is a cascade
  Control* control;         // [B]
  std::int32_t* slot;       // [B, K]
  std::int32_t* support;    // [B, slots]
  Complex* s;               // [B, slots, P, M]
  Complex* r_pri;           // [B, T, N, M]
  std::uint8_t* idle;       // [B, K]
  float* activity;          // [B, K]
  std::int32_t* remaining;  // [1] gets the number of blocks
};
void begin(const BeginArgs&, void* stream);

// Sets the conditions of the parts of the candidates' places [B * capacity] that are in use in this iteration.
struct ChooseArgs {
  const Control* control;           // [B]
  const std::uint64_t* conditions;  // [count] handles of core/graph_cuda.hpp, of `chunk` places each
  int count, chunk, capacity, batch;
};
void choose(const ChooseArgs&, void* stream);

// Decides which of the kept candidates are active, and how devices are spread that are too weak to be seen.
struct DecideArgs {
  Control* control;  // [B]
  KeptOutput kept;
  Rules rules;
  int capacity, devices, batch;
  const float* activity;  // [B, K]
  std::int32_t* device;   // [B, capacity] kept devices, -1 for those that are not active
  std::int32_t* index;    // [B, capacity] kept candidates that are active, in order
};
void decide(const DecideArgs&, void* stream);

// The result. If the block less the result has more power than the block, nobody is active.
struct FinishArgs {
  Control* control;    // [B]
  const float* power;  // [B, N, M] power of the block less the result
  KeptOutput kept;
  const std::int32_t* index;  // [B, capacity]
  const Complex* basis;       // [N, P], or null: identity, P = N
  const Complex* dft;         // [M], or null, as for the block
  const float* gain;          // [K] amplitudes of the devices' pilots
  Rules rules;
  Sizes sizes;
  int capacity;
  std::int64_t* active;  // [B, capacity] -1 beyond the last
  Complex* channels;     // [B, capacity, N, M] in units of the block, 0 beyond
  float* channel_var;    // [B, capacity] in units of the block, 0 beyond
  float* activity;       // [B, K]
};
void finish(const FinishArgs&, void* stream);

}  // namespace jadce::cuda

// The beginning and the end of a detection on a GPU. Conventions as in pilot_transform_cuda.hpp.
#pragma once

#include <cstdint>

#include "loop/control.hpp"
#include "loop/rules.hpp"

namespace jadce::cuda {

// Where the kernels of a planned detection find what changes from call to call; one for all blocks.
struct Input {
  const float* y;  // [blocks, T, N, M, 2]
  float noise_var;
  std::int32_t blocks;  // at most `batch`; the other blocks have nothing to do
};

void set_input(const float* y, float noise_var, int blocks, Input* input, void* stream);

// The received block over beams, y [T, N, M, 2], and its power per subcarrier, power [N]. dft [M, 2] holds
// exp(-2 pi i j / M) / sqrt(M), or is null where antennas stand for beams; rotation [N, T, T, 2] (or null) is applied
// over symbols, with scratch [T, N, M, 2].
void beamspace(const Input* input, const float* dft, const float* rotation, int subcarriers, int symbols, int antennas,
               int batch, float* y, float* scratch, double* power, void* stream);

// Scales the block and clears the state. The mean power of an active device is `known`, or with 0 what the block has
// above the noise over `expected` active devices. remaining [1] gets the number of blocks.
void begin(const Input* input, const double* power, const Rules& rules, float known, float expected, int devices,
           int subcarriers, int symbols, int antennas, int coefficients, int slots, int batch, Control* control,
           std::int32_t* slot, std::int32_t* support, float* s, float* big, unsigned char* quiet, float* activity,
           std::int32_t* remaining, void* stream);

// Which parts of the candidates' places [batch * capacity] are in use in this iteration: sets conditions [count],
// handles of core/graph_cuda.hpp, of `chunk` places each.
void choose(const Control* control, const std::uint64_t* conditions, int count, int chunk, int capacity, int batch,
            void* stream);

// Which of the kept candidates are active: device [capacity], -1 for those that are not, and index [capacity], the
// candidates that are, in order.
void decide(Control* control, const std::int32_t* kept_device, const float* kept_posterior, const Rules& rules,
            int capacity, int batch, std::int32_t* device, std::int32_t* index, void* stream);

// The result: active [capacity] (-1 beyond the last), channels [capacity, N, M, 2] and channel_var [capacity] in units
// of the block (0 beyond), activity [K]. power [N, M] is that of the block less the result: if it is more than the
// block's, nobody is active. gain [K]: amplitudes of the devices' pilots.
void finish(Control* control, const float* power, const std::int32_t* kept_device, const float* kept_var,
            const float* kept_mean, const std::int32_t* index, const float* basis, const float* dft, const float* gain,
            int capacity, int devices, int subcarriers, int symbols, int antennas, int coefficients, int batch,
            std::int64_t* active, float* channels, float* channel_var, float* activity, void* stream);

}  // namespace jadce::cuda

#include "core/block_cuda.hpp"
#include "core/complex_cuda.hpp"
#include "core/graph_cuda.hpp"
#include "kernels/batch_cuda.hpp"
#include "kernels/detection/detection_cuda.hpp"
#include "loop/loop.hpp"

namespace jadce::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kBeams = 32;  // worked on together, one a lane
constexpr int kWarps = kThreads / kBeams;
constexpr int kElements = 4 * kThreads;
constexpr unsigned kMostBlocks = 512;  // of a block that is cleared
constexpr float kLargest = 3.40282347e38f;

__device__ int thread() { return static_cast<int>(threadIdx.x); }
__device__ int block() { return static_cast<int>(blockIdx.x); }

__global__ void input_kernel(const float* y, float noise_var, int blocks, Input* input) {
  after_previous();
  *input = {y, noise_var, blocks};
}

// sum_i x[i step] w[i j mod M]
__device__ Complex dft_of(const Complex* x, int step, const Complex* __restrict__ w, int j, int antennas,
                          bool inverse) {
  if (w == nullptr) return x[j * step];
  Complex total{0.0f, 0.0f};
  int at = 0;
  for (int i = 0; i < antennas; ++i) {
    total = total + x[i * step] * (inverse ? conjugate(w[at]) : w[at]);
    at += j;
    if (at >= antennas) at -= antennas;
  }
  return total;
}

// One block: one subcarrier.
__global__ void __launch_bounds__(kThreads, 4)
    beamspace_kernel(const Input* input, const Complex* __restrict__ dft, const Complex* __restrict__ rotation,
                     int subcarriers, int symbols, int antennas, Complex* y, Complex* scratch,
                     double* __restrict__ power) {
  after_previous();
  if (batch() >= input->blocks) return;
  const int n = block(), lane = thread() % kBeams, warp = thread() / kBeams;
  const std::int64_t row = std::int64_t{1} * subcarriers * antennas;  // from symbol to symbol
  const std::int64_t first = batch() * symbols * row + std::int64_t{1} * n * antennas;
  const Complex* const in = reinterpret_cast<const Complex*>(input->y) + first;
  Complex* const out = (rotation ? scratch : y) + first;
  double mine = 0;
  for (int t = warp; t < symbols; t += kWarps)
    for (int b = lane; b < antennas; b += kBeams) {
      const Complex value = dft_of(in + t * row, 1, dft, b, antennas, false);
      out[t * row + b] = value;
      mine += static_cast<double>(value.re) * static_cast<double>(value.re) +
              static_cast<double>(value.im) * static_cast<double>(value.im);
    }
  mine = block_sum(mine, dynamic_shared<double>());
  if (thread() == 0) power[batch() * subcarriers + n] = mine;
  if (rotation == nullptr) return;
  for (int t = warp; t < symbols; t += kWarps)
    for (int b = lane; b < antennas; b += kBeams) {
      const Complex* const u = rotation + (std::int64_t{1} * n * symbols + t) * symbols;
      Complex total{0.0f, 0.0f};
      for (int i = 0; i < symbols; ++i) total = total + u[i] * out[i * row + b];
      y[first + t * row + b] = total;
    }
}

struct Begin {
  Rules rules;
  float known, expected;
  int devices, subcarriers, symbols, antennas, coefficients, slots;
};

// The first block of a received one sets its Control, all of them clear its state.
__global__ void __launch_bounds__(kThreads)
    begin_kernel(const Input* input, const double* power, const __grid_constant__ Begin size,
                 Control* __restrict__ controls, std::int32_t* __restrict__ slot, std::int32_t* __restrict__ support,
                 Complex* __restrict__ s, Complex* __restrict__ big, unsigned char* __restrict__ quiet,
                 float* __restrict__ activity, std::int32_t* __restrict__ remaining) {
  after_previous();
  const int start = block() * kThreads + thread(), step = static_cast<int>(gridDim.x) * kThreads;
  const int measurements = size.subcarriers * size.symbols * size.antennas;
  const auto clear = [&](auto* out, std::int64_t count, auto value) {
    out += batch() * count;
    for (std::int64_t i = start; i < count; i += step) out[i] = value;
  };
  clear(slot, size.devices, -1);
  clear(support, size.slots, -1);
  clear(s, std::int64_t{1} * size.slots * size.coefficients * size.antennas, Complex{0.0f, 0.0f});
  clear(big, measurements, Complex{0.0f, 0.0f});
  clear(quiet, size.devices, static_cast<unsigned char>(0));
  clear(activity, size.devices, 0.0f);
  if (block() > 0) return;
  if (batch() == 0 && thread() == 0) *remaining = input->blocks;
  if (batch() >= input->blocks) {
    if (thread() == 0) controls[batch()] = Control{};
    return;
  }
  double total = 0;
  for (int n = thread(); n < size.subcarriers; n += kThreads) total += power[batch() * size.subcarriers + n];
  total = block_sum(total, dynamic_shared<double>());
  if (thread() > 0) return;
  const double received = total / measurements, noise = static_cast<double>(input->noise_var);
  const double known = static_cast<double>(size.known), expected = static_cast<double>(size.expected);
  controls[batch()] =
      jadce::begin(received, noise, mean_power(size.rules, received, noise, known, expected, size.symbols));
}

// One block: one received block.
__global__ void __launch_bounds__(kThreads)
    decide_kernel(Control* controls, const std::int32_t* kept_device, const float* kept_posterior, float active,
                  int capacity, std::int32_t* __restrict__ device, std::int32_t* __restrict__ index) {
  after_previous();
  int* const part = dynamic_shared<int>();  // [32]
  Control& c = controls[batch()];
  const std::int64_t first = batch() * capacity;
  int count = 0;
  for (int from = 0; from < c.kept; from += kThreads) {
    const int a = from + thread();
    const bool taken = a < c.kept && kept_posterior[first + a] >= active;
    int now = 0;
    const int before = count + count_before(taken, part, now);
    if (taken) index[first + before] = a;
    if (a < c.kept) device[first + a] = taken ? kept_device[first + a] : -1;
    count += now;
  }
  if (thread() == 0) c.decided = count;
}

__global__ void __launch_bounds__(kThreads) choose_kernel(const Control* controls, const std::uint64_t* conditions,
                                                          int count, int chunk, int capacity, int batch) {
  after_previous();
  const int i = block() * kThreads + thread();
  if (i >= count) return;
  bool used = false;
  for (int b = i * chunk / capacity; b < batch && b * capacity < (i + 1) * chunk; ++b)
    used = used || (controls[b].run && i * chunk < b * capacity + controls[b].candidates);
  set_condition(conditions[i], used);
}

struct Finish {
  int capacity, devices, subcarriers, symbols, antennas, coefficients;
};

// Blocks in order: one a place of the result, kElements devices each.
__global__ void __launch_bounds__(kThreads, 4)
    finish_kernel(Control* controls, const float* power, const std::int32_t* kept_device, const float* kept_var,
                  const Complex* kept_mean, const std::int32_t* index, const Complex* __restrict__ basis,
                  const Complex* __restrict__ dft, const float* __restrict__ gain, const __grid_constant__ Finish size,
                  std::int64_t* __restrict__ active, Complex* __restrict__ channels, float* __restrict__ channel_var,
                  float* __restrict__ activity) {
  after_previous();
  Control& c = controls[batch()];
  double* const part = dynamic_shared<double>();                   // [kThreads]
  Complex* const h = reinterpret_cast<Complex*>(part + kThreads);  // [P, kBeams], if there is a basis
  const int m = size.antennas, points = size.subcarriers * m, p_all = size.coefficients;
  double left = 0;
  for (int i = thread(); i < points; i += kThreads) left += static_cast<double>(power[batch() * points + i]);
  const float residual = static_cast<float>(block_sum(left, part) / (static_cast<double>(points) * size.symbols));
  const bool silent = is_silent(c, residual);
  if (block() >= size.capacity) {
    const int first = (block() - size.capacity) * kElements;
    for (int k = first + thread(); silent && k < min(first + kElements, size.devices); k += kThreads)
      activity[batch() * size.devices + k] = 0.0f;
    return;
  }
  const int i = block();
  const bool used = i < c.decided && !silent;
  const std::int64_t place = batch() * size.capacity + i;
  const int a = used ? index[place] : 0, k = used ? kept_device[batch() * size.capacity + a] : 0;
  const float back = used ? 1.0f / (c.scale * gain[k]) : 0.0f;
  const Complex* const mean = kept_mean + (batch() * size.capacity + a) * p_all * m;
  Complex* const out = channels + place * points;
  if (!used) {
    for (int j = thread(); j < points; j += kThreads) out[j] = {0.0f, 0.0f};
  }
  for (int first = 0; used && first < m; first += kBeams) {
    const int lane = thread() % kBeams, warp = thread() / kBeams, antenna = first + lane;
    __syncthreads();
    for (int p = warp; p < p_all && antenna < m; p += kWarps) {
      const Complex value = dft_of(mean + p * m, 1, dft, antenna, m, true);
      if (basis)
        h[p * kBeams + lane] = value;
      else
        out[p * m + antenna] = value * back;
    }
    __syncthreads();
    for (int n = warp; basis && n < size.subcarriers && antenna < m; n += kWarps) {
      Complex total{0.0f, 0.0f};
      for (int p = 0; p < p_all; ++p) total = total + basis[n * p_all + p] * h[p * kBeams + lane];
      out[n * m + antenna] = total * back;
    }
  }
  if (thread() > 0) return;
  active[place] = used ? k : -1;
  channel_var[place] = used ? fminf(kept_var[batch() * size.capacity + a] * back * back, kLargest) : 0.0f;
  if (i > 0) return;
  conclude(c, residual);
}

}  // namespace

void set_input(const float* y, float noise_var, int blocks, Input* input, void* stream) {
  launch("set_input", input_kernel, 1, 1, 0, stream, y, noise_var, blocks, input);
}

void beamspace(const Input* input, const float* dft, const float* rotation, int subcarriers, int symbols, int antennas,
               int batch, float* y, float* scratch, double* power, void* stream) {
  launch("beamspace", beamspace_kernel, dim3(static_cast<unsigned>(subcarriers), 1, static_cast<unsigned>(batch)),
         kThreads, sizeof(double) * kThreads, stream, input, complex(dft), complex(rotation), subcarriers, symbols,
         antennas, complex(y), complex(scratch), power);
}

void begin(const Input* input, const double* power, const Rules& rules, float known, float expected, int devices,
           int subcarriers, int symbols, int antennas, int coefficients, int slots, int batch, Control* control,
           std::int32_t* slot, std::int32_t* support, float* s, float* big, unsigned char* quiet, float* activity,
           std::int32_t* remaining, void* stream) {
  const unsigned wanted = blocks(std::int64_t{slots} * coefficients * antennas, kElements);
  launch("begin", begin_kernel, dim3(wanted < kMostBlocks ? wanted : kMostBlocks, 1, static_cast<unsigned>(batch)),
         kThreads, sizeof(double) * kThreads, stream, input, power,
         Begin{rules, known, expected, devices, subcarriers, symbols, antennas, coefficients, slots}, control, slot,
         support, complex(s), complex(big), quiet, activity, remaining);
}

void choose(const Control* control, const std::uint64_t* conditions, int count, int chunk, int capacity, int batch,
            void* stream) {
  launch("choose", choose_kernel, blocks(count, kThreads), kThreads, 0, stream, control, conditions, count, chunk,
         capacity, batch);
}

void decide(Control* control, const std::int32_t* kept_device, const float* kept_posterior, const Rules& rules,
            int capacity, int batch, std::int32_t* device, std::int32_t* index, void* stream) {
  launch("decide", decide_kernel, dim3(1, 1, static_cast<unsigned>(batch)), kThreads, sizeof(int) * 32, stream, control,
         kept_device, kept_posterior, rules.active, capacity, device, index);
}

void finish(Control* control, const float* power, const std::int32_t* kept_device, const float* kept_var,
            const float* kept_mean, const std::int32_t* index, const float* basis, const float* dft, const float* gain,
            int capacity, int devices, int subcarriers, int symbols, int antennas, int coefficients, int batch,
            std::int64_t* active, float* channels, float* channel_var, float* activity, void* stream) {
  launch("finish", finish_kernel,
         dim3(static_cast<unsigned>(capacity) + blocks(devices, kElements), 1, static_cast<unsigned>(batch)), kThreads,
         sizeof(double) * kThreads + (basis ? sizeof(Complex) * static_cast<std::size_t>(coefficients) * kBeams : 0),
         stream, control, power, kept_device, kept_var, complex(kept_mean), index, complex(basis), complex(dft), gain,
         Finish{capacity, devices, subcarriers, symbols, antennas, coefficients}, active, complex(channels),
         channel_var, activity);
}

}  // namespace jadce::cuda

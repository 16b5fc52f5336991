#include <cstddef>
#include <cstdint>

#include "core/block_cuda.hpp"
#include "core/clock_cuda.hpp"
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
constexpr unsigned kMostBlocks = 512;  // thread blocks that clear the state of one received block
constexpr float kLargest = 3.40282347e38f;

__device__ int thread() { return static_cast<int>(threadIdx.x); }
__device__ int block() { return static_cast<int>(blockIdx.x); }

__global__ void input_kernel(const __grid_constant__ SetInputArgs args) {
  after_previous();
  *args.input = {args.y, args.noise_var, args.blocks, args.deadline};
}

// sum_i x[i step] w[i j mod M]
__device__ Complex dft_of(const Complex* x, int step, const Complex* __restrict__ w, int j, int antennas,
                          bool inverse) {
  if (w == nullptr) return x[j * step];
  Complex total{0.0f, 0.0f};
  int at = 0;
#pragma unroll 8
  for (int i = 0; i < antennas; ++i) {
    total = add_product(total, x[i * step], inverse ? conjugate(w[at]) : w[at]);
    at += j;
    if (at >= antennas) at -= antennas;
  }
  return total;
}

// One block: one subcarrier.
__global__ void __launch_bounds__(kThreads, 2)
    beamspace_kernel(const __grid_constant__ BeamspaceArgs args, const Complex* __restrict__ dft,
                     const Complex* __restrict__ rotation) {
  after_previous();
  if (batch() >= args.input->blocks) return;
  const int subcarriers = args.sizes.subcarriers, symbols = args.sizes.symbols, antennas = args.sizes.antennas;
  const int n = block(), lane = thread() % kBeams, warp = thread() / kBeams;
  const std::int64_t row = std::int64_t{1} * subcarriers * antennas;  // distance from symbol to symbol
  const std::int64_t first = batch() * symbols * row + std::int64_t{1} * n * antennas;
  const Complex* const in = args.input->y + first;
  Complex* const out = (rotation ? args.scratch : args.y) + first;
  double mine = 0;
  for (int t = warp; t < symbols; t += kWarps)
    for (int b = lane; b < antennas; b += kBeams) {
      const Complex value = dft_of(in + t * row, 1, dft, b, antennas, false);
      out[t * row + b] = value;
      mine += static_cast<double>(value.re) * static_cast<double>(value.re) +
              static_cast<double>(value.im) * static_cast<double>(value.im);
    }
  mine = block_sum(mine, dynamic_shared<double>());
  if (thread() == 0) args.power[batch() * subcarriers + n] = mine;
  if (rotation == nullptr) return;
  for (int t = warp; t < symbols; t += kWarps)
    for (int b = lane; b < antennas; b += kBeams) {
      const Complex* const u = rotation + (std::int64_t{1} * n * symbols + t) * symbols;
      Complex total{0.0f, 0.0f};
      for (int i = 0; i < symbols; ++i) total = add_product(total, u[i], out[i * row + b]);
      args.y[first + t * row + b] = total;
    }
}

// The first block of a received one sets its Control, all of them clear its state.
__global__ void __launch_bounds__(kThreads) begin_kernel(const __grid_constant__ BeginArgs args) {
  after_previous();
  const Sizes& size = args.sizes;
  const int start = block() * kThreads + thread(), step = static_cast<int>(gridDim.x) * kThreads;
  const int measurements = size.subcarriers * size.symbols * size.antennas;
  const auto clear = [&](auto* out, std::int64_t count, auto value) {
    out += batch() * count;
    for (std::int64_t i = start; i < count; i += step) out[i] = value;
  };
  clear(args.slot, size.devices, -1);
  clear(args.support, args.slots, -1);
  clear(args.s, std::int64_t{1} * args.slots * size.coefficients * size.antennas, Complex{0.0f, 0.0f});
  clear(args.r_pri, measurements, Complex{0.0f, 0.0f});
  clear(args.idle, size.devices, static_cast<std::uint8_t>(0));
  clear(args.activity, size.devices, 0.0f);
  if (block() > 0) return;
  if (batch() == 0 && thread() == 0) *args.remaining = args.input->blocks;
  if (batch() >= args.input->blocks) {
    if (thread() == 0) args.control[batch()] = Control{};
    return;
  }
  double total = 0;
  for (int n = thread(); n < size.subcarriers; n += kThreads) total += args.power[batch() * size.subcarriers + n];
  total = block_sum(total, dynamic_shared<double>());
  if (thread() > 0) return;
  const double received = total / measurements, noise = static_cast<double>(args.input->noise_var);
  const double known = static_cast<double>(args.known), expected = static_cast<double>(args.expected);
  const double mean = mean_power(args.rules, received, noise, known, expected, size.symbols);
  Control& c = args.control[batch()];
  c = jadce::begin(received, noise, mean, expected, measurements, args.members);
  c.known = known > 0;
  c.deadline = args.input->deadline;
  c.began = nanoseconds();
}

// One block: one received block.
__global__ void __launch_bounds__(kThreads) decide_kernel(const __grid_constant__ DecideArgs args) {
  after_previous();
  int* const part = dynamic_shared<int>();  // [kThreads]
  Control& c = args.control[batch()];
  const std::int64_t first = batch() * args.capacity;
  int count = 0;
  float fitted = 0.0f;
  for (int from = 0; from < c.kept; from += kThreads) {
    const int a = from + thread();
    const bool taken = a < c.kept && args.kept.posterior[first + a] >= args.rules.active;
    int now = 0;
    const int before = count + count_before(taken, part, now);
    if (taken) args.index[first + before] = a;
    if (taken) fitted += args.kept.var[first + a];
    if (a < c.kept) args.device[first + a] = taken ? args.kept.device[first + a] : -1;
    count += now;
  }
  fitted = block_sum(fitted, reinterpret_cast<float*>(part));
  double weights = 0;
  if (missing(c, args.rules) > 0) {
    for (int k = thread(); k < args.devices; k += kThreads) {
      const float p = args.activity[batch() * args.devices + k];
      weights += static_cast<double>((1.0f - p) * unseen_weight(c, args.rules, p));
    }
  }
  weights = block_sum(weights, dynamic_shared<double>());
  if (thread() > 0) return;
  c.decided = count;
  c.fitted = fitted;
  spread_missing(c, args.rules, weights);
}

__global__ void __launch_bounds__(kThreads) choose_kernel(const __grid_constant__ ChooseArgs args) {
  after_previous();
  const int i = block() * kThreads + thread(), chunk = args.chunk, capacity = args.capacity;
  if (i >= args.count) return;
  bool used = false;
  for (int b = i * chunk / capacity; b < args.batch && b * capacity < (i + 1) * chunk; ++b)
    used = used || (args.control[b].run && i * chunk < b * capacity + args.control[b].candidates);
  set_condition(args.conditions[i], used);
}

// Blocks in order: one a place of the result, kElements devices each.
__global__ void __launch_bounds__(kThreads, 4)
    finish_kernel(const __grid_constant__ FinishArgs args, const Complex* __restrict__ basis,
                  const Complex* __restrict__ dft, const float* __restrict__ gain) {
  after_previous();
  Control& c = args.control[batch()];
  double* const part = dynamic_shared<double>();                   // [kThreads]
  Complex* const h = reinterpret_cast<Complex*>(part + kThreads);  // [P, kBeams], if there is a basis
  const Sizes& size = args.sizes;
  const int m = size.antennas, points = size.subcarriers * m, p_all = size.coefficients;
  double left = 0;
  for (int i = thread(); i < points; i += kThreads) left += static_cast<double>(args.power[batch() * points + i]);
  const float residual = static_cast<float>(block_sum(left, part) / (static_cast<double>(points) * size.symbols));
  const bool silent = is_silent(c, residual);
  if (block() >= args.capacity) {
    const int first = (block() - args.capacity) * kElements;
    for (int k = first + thread(); k < min(first + kElements, size.devices); k += kThreads) {
      float& p = args.activity[batch() * size.devices + k];
      p = silent ? 0.0f : with_unseen(c, args.rules, p);
    }
    return;
  }
  const int i = block();
  const bool used = i < c.decided && !silent;
  const std::int64_t place = batch() * args.capacity + i;
  const int a = used ? args.index[place] : 0;
  const int k = used ? args.kept.device[batch() * args.capacity + a] : 0;
  const float back = used ? 1.0f / (c.scale * gain[k]) : 0.0f;
  const Complex* const mean = args.kept.mean + (batch() * args.capacity + a) * p_all * m;
  Complex* const out = args.channels + place * points;
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
      for (int p = 0; p < p_all; ++p) total = add_product(total, basis[n * p_all + p], h[p * kBeams + lane]);
      out[n * m + antenna] = total * back;
    }
  }
  if (thread() > 0) return;
  args.active[place] = used ? k : -1;
  args.channel_var[place] = used ? fminf(args.kept.var[batch() * args.capacity + a] * back * back, kLargest) : 0.0f;
  if (i > 0) return;
  conclude(c, args.rules, residual,
           static_cast<float>(size.coefficients) / static_cast<float>(size.subcarriers * size.symbols));
}

}  // namespace

void set_input(const SetInputArgs& args, void* stream) { launch("set_input", input_kernel, 1, 1, 0, stream, args); }

void beamspace(const BeamspaceArgs& args, void* stream) {
  launch("beamspace", beamspace_kernel,
         dim3(static_cast<unsigned>(args.sizes.subcarriers), 1, static_cast<unsigned>(args.sizes.batch)), kThreads,
         sizeof(double) * kThreads, stream, args, args.dft, args.rotation);
}

void begin(const BeginArgs& args, void* stream) {
  const unsigned wanted = blocks(std::int64_t{args.slots} * args.sizes.coefficients * args.sizes.antennas, kElements);
  launch("begin", begin_kernel,
         dim3(wanted < kMostBlocks ? wanted : kMostBlocks, 1, static_cast<unsigned>(args.sizes.batch)), kThreads,
         sizeof(double) * kThreads, stream, args);
}

void choose(const ChooseArgs& args, void* stream) {
  launch("choose", choose_kernel, blocks(args.count, kThreads), kThreads, 0, stream, args);
}

void decide(const DecideArgs& args, void* stream) {
  launch("decide", decide_kernel, dim3(1, 1, static_cast<unsigned>(args.batch)), kThreads, sizeof(double) * kThreads,
         stream, args);
}

void finish(const FinishArgs& args, void* stream) {
  const Sizes& s = args.sizes;
  launch("finish", finish_kernel,
         dim3(static_cast<unsigned>(args.capacity) + blocks(s.devices, kElements), 1, static_cast<unsigned>(s.batch)),
         kThreads,
         sizeof(double) * kThreads +
             (args.basis ? sizeof(Complex) * static_cast<std::size_t>(s.coefficients) * kBeams : 0),
         stream, args, args.basis, args.dft, args.gain);
}

}  // namespace jadce::cuda

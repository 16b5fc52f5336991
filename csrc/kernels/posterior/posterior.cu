#include <cstddef>
#include <cstdint>

#include "core/block_cuda.hpp"
#include "core/clock_cuda.hpp"
#include "core/complex_cuda.hpp"
#include "kernels/batch_cuda.hpp"
#include "kernels/posterior/posterior.hpp"
#include "kernels/posterior/posterior_cuda.hpp"
#include "loop/loop.hpp"

namespace jadce::cuda {

namespace {

constexpr int kThreads = 32 * kBeamWarps;
constexpr int kResident = 4;             // blocks of update on a multiprocessor
constexpr int kElements = 4 * kThreads;  // numbers of a block that updates element by element
constexpr int kPairs = 2;                // numbers of S that a thread loads at a time

__device__ int thread() { return static_cast<int>(threadIdx.x); }
__device__ int block() { return static_cast<int>(blockIdx.x); }

// Every block works out the variances of all beams; the first one writes them down.
__global__ void __launch_bounds__(kThreads, 3)
    module_a_kernel(const __grid_constant__ ModuleAArgs args, const float* __restrict__ gram) {
  after_previous();
  Control& c = args.control[batch()];
  if (!c.going) {
    if (block() == 0 && thread() == 0) c.run = c.test = 0;  // also for the kernels that follow
    return;
  }
  Complex* __restrict__ r_b = args.r_b;
  double* const part = dynamic_shared<double>();  // [kBeamWarps, 32]
  float* const variance = reinterpret_cast<float*>(part + kThreads);
  const int m = args.sizes.antennas, subcarriers = args.sizes.subcarriers, symbols = args.sizes.symbols;
  const int measurements = subcarriers * symbols, lane = thread() % 32;
  float* const ratio = variance + m;  // eta
  float* const message = ratio + m;   // v_b
  const float noise = c.noise, floor = variance_floor(args.rules, noise, c.received, args.mean_gram);
  const bool measure = c.iteration == 0 || !args.rules.predicted;
  const float* const power = args.power + batch() * subcarriers * m;
  float* const v_a = args.v_a + batch() * m;
  // Loads that the variances do not delay.
  const std::int64_t state = batch() * measurements * m;
  const int start = block() * kElements + thread(), end = measurements * m;
  Complex before[kElements / kThreads], change[kElements / kThreads];
#pragma unroll
  for (int j = 0; j < kElements / kThreads; ++j) {
    const int i = start + j * kThreads;
    before[j] = i < end ? args.r_pri[state + i] : Complex{0.0f, 0.0f};
    change[j] = i < end ? args.r[state + i] : Complex{0.0f, 0.0f};
  }
  for (int first = 0; first < m; first += 32) {
    const int beam = first + lane;
    const bool inside = beam < m;
    float v = inside ? v_a[beam] : 1.0f;
    if (measure) {
      const double total = beam_sum(subcarriers, part, [&](int n) { return inside ? power[n * m + beam] : 0.0f; });
      v = measured_variance(static_cast<float>(total / measurements), noise, args.mean_gram, floor);
    }
    double eta = 0;
    if (args.uniform) {
      eta = static_cast<double>(measurements) * static_cast<double>(v * gram[0] / (v * gram[0] + noise));
    } else {
      eta = beam_sum(measurements, part, [&](int i) { return v * gram[i] / (v * gram[i] + noise); });
    }
    eta /= static_cast<double>(subcarriers) * args.sizes.devices;
    if (inside && thread() < 32) {
      variance[beam] = v;
      ratio[beam] = static_cast<float>(eta);
      message[beam] = message_variance(v, eta, measure ? floor : args.rules.smallest_alpha * floor);
    }
  }
  __syncthreads();
#pragma unroll
  for (int j = 0; j < kElements / kThreads; ++j) {
    const int i = start + j * kThreads;
    if (i >= end) break;
    const int b = i % m, n = i / m % subcarriers, t = i / m / subcarriers;
    r_b[state + i] = before[j] + change[j] * residual_gain(variance[b], gram[n * symbols + t], noise, ratio[b]);
  }
  if (block() > 0) return;
  for (int b = thread(); b < m; b += kThreads) {
    v_a[b] = variance[b];
    args.eta[batch() * m + b] = ratio[b];
    args.v_b[batch() * m + b] = message[b];
  }
  if (thread() >= 32) return;
  double total = 0;
  for (int b = lane; b < m; b += 32) total += static_cast<double>(message[b]);
  for (int other = 16; other > 0; other /= 2) total += __shfl_xor_sync(~0u, total, other);
  if (thread() > 0) return;
  plan(c, args.rules, static_cast<float>(total / m), 1e-3f * static_cast<float>(nanoseconds() - c.began));
  args.history[(batch() * args.rules.max_iterations + c.iteration) * 2] = c.error;
}

// Extrinsic weights of all beams to shared memory: a [M], b [M].
__device__ void extrinsic(const UpdateArgs& args, const Candidates& from, int count, double* part, float* a, float* b) {
  const int m = args.sizes.antennas, lane = thread() % 32;
  const float* const v_b = args.v_b + batch() * m;
  for (int first = 0; first < m; first += 32) {
    const int beam = first + lane;
    const bool inside = beam < m;
    const float v = inside ? v_b[beam] : 1.0f;  // loaded before it is needed
    const double total = beam_sum(count, part, [&](int i) {
      return inside ? from.posterior[i] * from.power[i] * from.var[static_cast<std::int64_t>(i) * m + beam] : 0.0f;
    });
    if (!inside || thread() >= 32) continue;
    const float alpha =
        believed_alpha(args.rules, static_cast<double>(args.rules.caution) * total /
                                       (static_cast<double>(v) * static_cast<double>(args.sizes.devices)));
    a[beam] = 1.0f / (1.0f - alpha);
    b[beam] = alpha / (1.0f - alpha);
  }
  __syncthreads();
}

// S of one slot. What does not depend on the extrinsic weights is loaded before they are worked out, if they are not
// `known` yet.
__device__ void combine(const UpdateArgs& args, const Candidates& from, const Control& c, int slot, bool& known,
                        double* part, float* a_of, float* b_of) {
  const int m = args.sizes.antennas, all = args.sizes.coefficients * m;
  const std::int64_t at = batch() * args.slots + slot;
  const int a = args.place[at], k = args.support[at];
  if (k < 0) return;
  Complex* const s = args.s + at * all;
  const float weight = a < 0 ? 0.0f : from.posterior[a] * sqrtf(from.power[a]);
  const Complex* const h = from.mean + static_cast<std::int64_t>(a < 0 ? 0 : a) * all;
  if (!known) extrinsic(args, from, c.candidates, part, a_of, b_of);
  known = true;
  float energy = 0.0f;
  for (int first = thread(); first < all; first += kPairs * kThreads) {
    Complex old[kPairs], taken_in[kPairs];
#pragma unroll
    for (int j = 0; j < kPairs; ++j) {
      const int i = min(first + j * kThreads, all - 1);
      old[j] = s[i];
      taken_in[j] = h[i];
    }
#pragma unroll
    for (int j = 0; j < kPairs; ++j) {
      const int i = first + j * kThreads;
      if (i >= all) continue;
      Complex value = old[j] * kept(c.gamma, b_of[i % m]);
      if (a >= 0) value = value + taken_in[j] * taken(c.gamma, weight, a_of[i % m]);
      s[i] = value;
      energy += norm(value);
    }
  }
  if (!args.rules.screening) return;
  energy = block_sum(energy, reinterpret_cast<float*>(part));
  if (energy > args.rules.negligible * c.error * static_cast<float>(all)) return;
  for (int i = thread(); i < all; i += kThreads) s[i] = {0.0f, 0.0f};
  if (thread() > 0) return;
  args.slot[batch() * args.sizes.devices + k] = -1;
  args.support[at] = -1;
}

// One candidate's output in the units of the block.
__device__ void keep_candidate(const Sizes& sizes, const Candidates& from, int a, float* part, const KeptOutput& to) {
  const int m = sizes.antennas, all = sizes.coefficients * m;
  const float gain = sqrtf(from.power[a]);
  float var = 0.0f;
  for (int i = thread(); i < all; i += kThreads)
    to.mean[static_cast<std::int64_t>(a) * all + i] = from.mean[static_cast<std::int64_t>(a) * all + i] * gain;
  for (int b = thread(); b < m; b += kThreads) var += from.var[static_cast<std::int64_t>(a) * m + b];
  var = block_sum(var, part);
  if (thread() > 0) return;
  to.device[a] = from.device[a];
  to.posterior[a] = from.posterior[a];
  to.var[a] = var / static_cast<float>(m) * from.power[a];
}

// How weak other devices may be, for the next test; by one warp.
__device__ void learn_powers(const UpdateArgs& args, const Candidates& from, int count, Control& c) {
  float number = 0.0f, sum = 0.0f, squares = 0.0f;
  for (int a = thread(); a < count; a += 32) {
    const float weight = from.posterior[a], value = logf(from.power[a]);
    number += weight;
    sum += weight * value;
    squares += weight * value * value;
  }
  for (int other = 16; other > 0; other /= 2) {
    number += __shfl_xor_sync(~0u, number, other);
    sum += __shfl_xor_sync(~0u, sum, other);
    squares += __shfl_xor_sync(~0u, squares, other);
  }
  if (thread() == 0) jadce::learn_powers(c, args.rules, number, sum, squares);
}

// Thread blocks that take a slot of S, or a candidate to be kept, after another.
struct Sharing {
  int slots, candidates;
};

// Blocks in order: those of slots, of candidates, kElements numbers of R each, kElements devices each.
__global__ void __launch_bounds__(kThreads, kResident)
    update_kernel(const __grid_constant__ UpdateArgs args, const __grid_constant__ Sharing sharing) {
  after_previous();
  Control& c = args.control[batch()];
  if (!c.run) return;
  double* const part = dynamic_shared<double>();  // [kThreads]
  float* const a_of = reinterpret_cast<float*>(part + kThreads);
  const int m = args.sizes.antennas, count = c.candidates, channel = args.sizes.coefficients * m;
  float* const b_of = a_of + m;
  const std::int64_t first = batch() * args.capacity;
  const Candidates& all = args.candidates;
  const Candidates from{all.posterior + first, all.power + first, all.mean + first * channel, all.var + first * m,
                        all.device + first};
  int task = block();
  if (task < sharing.slots) {
    bool known = false;
    for (int slot = task; slot < min(args.slots, c.slots); slot += sharing.slots)
      combine(args, from, c, slot, known, part, a_of, b_of);
    return;
  }
  task -= sharing.slots;
  if (task < sharing.candidates) {
    if (task == 0 && thread() == 0) {
      args.history[(batch() * args.rules.max_iterations + c.iteration - 1) * 2 + 1] = static_cast<float>(count);
      if (c.keep) c.kept = count;
      if (c.keep) c.kept_left_out = c.left_out;
    }
    if (task == 0 && thread() < 32) learn_powers(args, from, count, c);
    const KeptOutput& kept = args.kept;
    const KeptOutput to{kept.device + first, kept.posterior + first, kept.var + first, kept.mean + first * channel};
    for (int a = task; c.keep && a < count; a += sharing.candidates)
      keep_candidate(args.sizes, from, a, reinterpret_cast<float*>(part), to);
    return;
  }
  task -= sharing.candidates;
  const int numbers = args.sizes.subcarriers * args.sizes.symbols * m;
  if (task * kElements < numbers) {
    extrinsic(args, from, count, part, a_of, b_of);
    Complex* const r_pri = args.r_pri + batch() * numbers;
    const Complex* const r_b = args.r_b + batch() * numbers;
    for (int i = task * kElements + thread(); i < min((task + 1) * kElements, numbers); i += kThreads) {
      const float b = b_of[i % m];
      const Complex old = r_pri[i];
      r_pri[i] = {damped(c.gamma, b, r_b[i].re, old.re), damped(c.gamma, b, r_b[i].im, old.im)};
    }
    float* const v_a = args.v_a + batch() * m;
    if (task == 0 && args.rules.predicted)
      for (int b = thread(); b < m; b += kThreads)
        v_a[b] = c.gamma * args.v_b[batch() * m + b] * b_of[b] + (1.0f - c.gamma) * v_a[b];
    return;
  }
  if (!c.keep) return;
  task -= (numbers + kElements - 1) / kElements;
  const std::int64_t devices = batch() * args.sizes.devices;
  for (int k = task * kElements + thread(); k < min((task + 1) * kElements, args.sizes.devices); k += kThreads)
    args.activity[devices + k] = args.posterior[devices + k];
}

}  // namespace

void module_a(const ModuleAArgs& args, void* stream) {
  const Sizes& s = args.sizes;
  launch(
      "module_a", module_a_kernel,
      dim3(blocks(std::int64_t{s.subcarriers} * s.symbols * s.antennas, kElements), 1, static_cast<unsigned>(s.batch)),
      kThreads, sizeof(double) * kThreads + sizeof(float) * 3 * static_cast<std::size_t>(s.antennas), stream, args,
      args.gram);
}

void update(const UpdateArgs& args, void* stream) {
  const Sizes& s = args.sizes;
  const unsigned slots = sharing(args.slots, s.batch, kResident);
  const unsigned candidates = sharing(args.capacity, s.batch, kResident);
  const unsigned count = slots + candidates + blocks(std::int64_t{s.subcarriers} * s.symbols * s.antennas, kElements) +
                         blocks(s.devices, kElements);
  launch("update", update_kernel, dim3(count, 1, static_cast<unsigned>(s.batch)), kThreads,
         sizeof(double) * kThreads + sizeof(float) * 2 * static_cast<std::size_t>(s.antennas), stream, args,
         Sharing{static_cast<int>(slots), static_cast<int>(candidates)});
}

}  // namespace jadce::cuda

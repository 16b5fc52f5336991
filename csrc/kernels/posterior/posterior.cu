#include "core/block_cuda.hpp"
#include "core/complex_cuda.hpp"
#include "kernels/batch_cuda.hpp"
#include "kernels/posterior/posterior.hpp"
#include "kernels/posterior/posterior_cuda.hpp"
#include "loop/loop.hpp"

namespace jadce::cuda {

namespace {

constexpr int kThreads = 32 * kBeamWarps;
constexpr int kElements = 4 * kThreads;  // of a block that updates element by element

__device__ int thread() { return static_cast<int>(threadIdx.x); }
__device__ int block() { return static_cast<int>(blockIdx.x); }

struct ObserveSizes {
  int devices, subcarriers, symbols, antennas;
  float mean_gram;
  int uniform;
};

// Every block works out the variances of all beams; the first one writes them down.
__global__ void __launch_bounds__(kThreads, 4)
    observe_kernel(Control* controls, const float* power, const float* __restrict__ gram, const Complex* big,
                   const Complex* r, const __grid_constant__ ObserveSizes size, const __grid_constant__ Rules rules,
                   float* v_a, float* __restrict__ eta_out, float* __restrict__ v_b, Complex* __restrict__ seen,
                   float* __restrict__ history) {
  after_previous();
  Control& c = controls[batch()];
  if (!c.going) {
    if (block() == 0 && thread() == 0) c.run = c.screen = 0;  // also for the kernels that follow
    return;
  }
  double* const part = dynamic_shared<double>();  // [kBeamWarps, 32]
  float* const variance = reinterpret_cast<float*>(part + kThreads);
  const int m = size.antennas, measurements = size.subcarriers * size.symbols, lane = thread() % 32;
  float* const ratio = variance + m;  // eta
  float* const message = ratio + m;   // v_b
  const float noise = c.noise, floor = variance_floor(rules, noise, c.received, size.mean_gram);
  const bool measure = c.iteration == 0 || !rules.predicted;
  power += batch() * size.subcarriers * m;
  v_a += batch() * m;
  // Loads that the variances do not delay.
  const std::int64_t state = batch() * measurements * m;
  const int start = block() * kElements + thread(), end = measurements * m;
  Complex before[kElements / kThreads], change[kElements / kThreads];
#pragma unroll
  for (int j = 0; j < kElements / kThreads; ++j) {
    const int i = start + j * kThreads;
    before[j] = i < end ? big[state + i] : Complex{0.0f, 0.0f};
    change[j] = i < end ? r[state + i] : Complex{0.0f, 0.0f};
  }
  for (int first = 0; first < m; first += 32) {
    const int beam = first + lane;
    const bool inside = beam < m;
    float v = inside ? v_a[beam] : 1.0f;
    if (measure) {
      const double total = beam_sum(size.subcarriers, part, [&](int n) { return inside ? power[n * m + beam] : 0.0f; });
      v = measured_variance(static_cast<float>(total / measurements), noise, size.mean_gram, floor);
    }
    double eta = 0;
    if (size.uniform) {
      eta = static_cast<double>(measurements) * static_cast<double>(v * gram[0] / (v * gram[0] + noise));
    } else {
      eta = beam_sum(measurements, part, [&](int i) { return v * gram[i] / (v * gram[i] + noise); });
    }
    eta /= static_cast<double>(size.subcarriers) * size.devices;
    if (inside && thread() < 32) {
      variance[beam] = v;
      ratio[beam] = static_cast<float>(eta);
      message[beam] = message_variance(v, eta, measure ? floor : rules.smallest_alpha * floor);
    }
  }
  __syncthreads();
#pragma unroll
  for (int j = 0; j < kElements / kThreads; ++j) {
    const int i = start + j * kThreads;
    if (i >= end) break;
    const int b = i % m, n = i / m % size.subcarriers, t = i / m / size.subcarriers;
    seen[state + i] = before[j] + change[j] * residual_gain(variance[b], gram[n * size.symbols + t], noise, ratio[b]);
  }
  if (block() > 0) return;
  for (int b = thread(); b < m; b += kThreads) {
    v_a[b] = variance[b];
    eta_out[batch() * m + b] = ratio[b];
    v_b[batch() * m + b] = message[b];
  }
  if (thread() > 0) return;
  double total = 0;
  for (int b = 0; b < m; ++b) total += static_cast<double>(message[b]);
  plan(c, rules, static_cast<float>(total / m));
  history[(batch() * rules.max_iterations + c.iteration) * 2] = c.error;
}

struct UpdateSizes {
  Rules rules;
  int capacity, slots, devices, measurements, antennas, coefficients;
};

struct Candidates {
  const float *posterior, *power;
  const Complex* mean;
  const float* var;
  const std::int32_t* device;
};

struct Kept {
  std::int32_t* device;
  float *posterior, *var;
  Complex* mean;
  float* activity;
};

// Extrinsic weights of all beams to shared memory: a [M], b [M].
__device__ void extrinsic(const Candidates& from, const float* v_b, int count, const UpdateSizes& size, double* part,
                          float* a, float* b) {
  const int m = size.antennas, lane = thread() % 32;
  for (int first = 0; first < m; first += 32) {
    const int beam = first + lane;
    const bool inside = beam < m;
    const double total = beam_sum(count, part, [&](int i) {
      return inside ? from.posterior[i] * from.power[i] * from.var[static_cast<std::int64_t>(i) * m + beam] : 0.0f;
    });
    if (!inside || thread() >= 32) continue;
    const float alpha =
        believed_alpha(size.rules, static_cast<double>(size.rules.caution) * total /
                                       (static_cast<double>(v_b[beam]) * static_cast<double>(size.devices)));
    a[beam] = 1.0f / (1.0f - alpha);
    b[beam] = alpha / (1.0f - alpha);
  }
  __syncthreads();
}

// S of one slot.
__device__ void combine(const Candidates& from, int a, const float* taken_of, const float* b_of, const Control& c,
                        const UpdateSizes& size, float* part, std::int32_t* slot, std::int32_t* support, Complex* s) {
  const int m = size.antennas, all = size.coefficients * m, k = support[block()];
  const float weight = a < 0 ? 0.0f : from.posterior[a] * sqrtf(from.power[a]);
  const Complex* const h = from.mean + static_cast<std::int64_t>(a < 0 ? 0 : a) * all;
  float energy = 0.0f;
  for (int i = thread(); i < all; i += kThreads) {
    Complex value = s[i] * kept(c.gamma, b_of[i % m]);
    if (a >= 0) value = value + h[i] * taken(c.gamma, weight, taken_of[i % m]);
    s[i] = value;
    energy += norm(value);
  }
  if (!size.rules.screening) return;
  energy = block_sum(energy, part);
  if (energy > size.rules.negligible * c.error * static_cast<float>(all)) return;
  for (int i = thread(); i < all; i += kThreads) s[i] = {0.0f, 0.0f};
  if (thread() > 0) return;
  slot[k] = -1;
  support[block()] = -1;
}

// One candidate's output in the units of the block.
__device__ void keep_candidate(const Candidates& from, int a, const UpdateSizes& size, float* part, const Kept& to) {
  const int m = size.antennas, all = size.coefficients * m;
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

// Blocks in order: one a slot of S, one a candidate to be kept, kElements numbers of R each, kElements devices each.
__global__ void __launch_bounds__(kThreads, 4)
    update_kernel(Control* controls, const __grid_constant__ Candidates all, const float* v_b,
                  const float* all_posterior, const Complex* seen, const std::int32_t* place,
                  const __grid_constant__ UpdateSizes size, float* v_a, std::int32_t* slot, std::int32_t* support,
                  Complex* s, Complex* big, const __grid_constant__ Kept all_kept, float* history) {
  after_previous();
  Control& c = controls[batch()];
  if (!c.run) return;
  double* const part = dynamic_shared<double>();  // [kThreads]
  float* const a_of = reinterpret_cast<float*>(part + kThreads);
  const int m = size.antennas, count = c.candidates, channel = size.coefficients * m;
  float* const b_of = a_of + m;
  const std::int64_t first = batch() * size.capacity;
  const Candidates from{all.posterior + first, all.power + first, all.mean + first * channel, all.var + first * m,
                        all.device + first};
  v_b += batch() * m;
  int task = block();
  if (task < size.slots) {
    const std::int64_t at = batch() * size.slots + task;
    support += batch() * size.slots;
    if (support[task] < 0) return;
    extrinsic(from, v_b, count, size, part, a_of, b_of);
    combine(from, place[at], a_of, b_of, c, size, reinterpret_cast<float*>(part), slot + batch() * size.devices,
            support, s + at * channel);
    return;
  }
  task -= size.slots;
  const Kept to{all_kept.device + first, all_kept.posterior + first, all_kept.var + first,
                all_kept.mean + first * channel, all_kept.activity + batch() * size.devices};
  if (task < size.capacity) {
    if (task == 0 && thread() == 0) {
      history[(batch() * size.rules.max_iterations + c.iteration - 1) * 2 + 1] = static_cast<float>(count);
      if (c.keep) c.kept = count;
      if (c.keep) c.kept_left_out = c.left_out;
    }
    if (c.keep && task < count) keep_candidate(from, task, size, reinterpret_cast<float*>(part), to);
    return;
  }
  task -= size.capacity;
  const int numbers = size.measurements * m;
  if (task * kElements < numbers) {
    extrinsic(from, v_b, count, size, part, a_of, b_of);
    big += batch() * numbers;
    seen += batch() * numbers;
    for (int i = task * kElements + thread(); i < min((task + 1) * kElements, numbers); i += kThreads) {
      const float b = b_of[i % m];
      const Complex old = big[i];
      big[i] = {damped(c.gamma, b, seen[i].re, old.re), damped(c.gamma, b, seen[i].im, old.im)};
    }
    if (task == 0 && size.rules.predicted)
      for (int b = thread(); b < m; b += kThreads)
        v_a[batch() * m + b] = c.gamma * v_b[b] * b_of[b] + (1.0f - c.gamma) * v_a[batch() * m + b];
    return;
  }
  if (!c.keep) return;
  task -= (numbers + kElements - 1) / kElements;
  all_posterior += batch() * size.devices;
  for (int k = task * kElements + thread(); k < min((task + 1) * kElements, size.devices); k += kThreads)
    to.activity[k] = all_posterior[k];
}

}  // namespace

void observe(Control* control, const float* power, const float* gram, const float* big, const float* r, float mean_gram,
             int uniform, const Rules& rules, int devices, int subcarriers, int symbols, int antennas, int batch,
             float* v_a, float* eta, float* v_b, float* seen, float* history, void* stream) {
  launch("observe", observe_kernel,
         dim3(blocks(std::int64_t{subcarriers} * symbols * antennas, kElements), 1, static_cast<unsigned>(batch)),
         kThreads, sizeof(double) * kThreads + sizeof(float) * 3 * static_cast<std::size_t>(antennas), stream, control,
         power, gram, complex(big), complex(r),
         ObserveSizes{devices, subcarriers, symbols, antennas, mean_gram, uniform}, rules, v_a, eta, v_b, complex(seen),
         history);
}

void update(Control* control, const float* posterior, const float* power, const float* mean, const float* var,
            const float* v_b, const std::int32_t* device, const float* all_posterior, const float* seen,
            const std::int32_t* place, const Rules& rules, int capacity, int slots, int devices, int measurements,
            int antennas, int coefficients, int batch, float* v_a, std::int32_t* slot, std::int32_t* support, float* s,
            float* big, std::int32_t* kept_device, float* kept_posterior, float* kept_var, float* kept_mean,
            float* activity, float* history, void* stream) {
  const unsigned count = static_cast<unsigned>(slots) + static_cast<unsigned>(capacity) +
                         blocks(std::int64_t{measurements} * antennas, kElements) + blocks(devices, kElements);
  launch("update", update_kernel, dim3(count, 1, static_cast<unsigned>(batch)), kThreads,
         sizeof(double) * kThreads + sizeof(float) * 2 * static_cast<std::size_t>(antennas), stream, control,
         Candidates{posterior, power, complex(mean), var, device}, v_b, all_posterior, complex(seen), place,
         UpdateSizes{rules, capacity, slots, devices, measurements, antennas, coefficients}, v_a, slot, support,
         complex(s), complex(big), Kept{kept_device, kept_posterior, kept_var, complex(kept_mean), activity}, history);
}

}  // namespace jadce::cuda

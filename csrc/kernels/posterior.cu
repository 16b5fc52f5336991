#include "core/block_cuda.hpp"
#include "kernels/complex_cuda.hpp"
#include "kernels/posterior.hpp"
#include "kernels/posterior_cuda.hpp"
#include "receiver/rules.hpp"

namespace jadce::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kAssignThreads = 512;

__device__ int thread() { return static_cast<int>(threadIdx.x); }
__device__ int block() { return static_cast<int>(blockIdx.x); }

// One block: one beam.
__global__ void __launch_bounds__(kThreads)
    track_kernel(const float* __restrict__ power, const float* __restrict__ gram, const float* __restrict__ level,
                 float mean_gram, int uniform, int measure, int devices, int subcarriers, int symbols, int antennas,
                 float* __restrict__ v_a, float* __restrict__ eta_out, float* __restrict__ v_b) {
  double* const part = dynamic_shared<double>();
  const int b = block(), measurements = subcarriers * symbols;
  const float noise = level[0], floor = variance_floor(noise, level[1], mean_gram);
  float v = v_a[b];
  if (measure) {
    double total = 0;
    for (int n = thread(); n < subcarriers; n += kThreads) total += static_cast<double>(power[n * antennas + b]);
    total = block_sum(total, part);
    v = measured_variance(static_cast<float>(total / measurements), noise, mean_gram, floor);
  }
  double eta = 0;
  if (uniform) {
    eta = static_cast<double>(measurements) * static_cast<double>(v * gram[0] / (v * gram[0] + noise));
  } else {
    for (int i = thread(); i < measurements; i += kThreads)
      eta += static_cast<double>(v * gram[i] / (v * gram[i] + noise));
    eta = block_sum(eta, part);
  }
  eta /= static_cast<double>(subcarriers) * devices;
  __syncthreads();  // v_a was read
  if (thread() > 0) return;
  v_a[b] = v;
  eta_out[b] = static_cast<float>(eta);
  v_b[b] = message_variance(v, eta, measure ? floor : kSmallestAlpha * floor);
}

__global__ void __launch_bounds__(kThreads)
    observe_kernel(const Complex* __restrict__ big, const Complex* __restrict__ r, const float* __restrict__ gram,
                   const float* __restrict__ level, const float* __restrict__ v_a, const float* __restrict__ eta,
                   const float* __restrict__ v_b, int subcarriers, int symbols, int antennas,
                   Complex* __restrict__ seen, float* __restrict__ mean_v) {
  const int i = block() * kThreads + thread();
  if (i == 0) {
    double total = 0;
    for (int b = 0; b < antennas; ++b) total += static_cast<double>(v_b[b]);
    *mean_v = static_cast<float>(total / antennas);
  }
  if (i >= subcarriers * symbols * antennas) return;
  const int b = i % antennas, n = i / antennas % subcarriers, t = i / antennas / subcarriers;
  const Complex change = r[i] * residual_gain(v_a[b], gram[n * symbols + t], level[0], eta[b]);
  seen[i] = big ? big[i] + change : change;
}

// One block: one candidate.
__global__ void __launch_bounds__(kThreads)
    normalise_kernel(const float* __restrict__ v_b, const float* __restrict__ mean_v,
                     const std::int32_t* __restrict__ count, int known, int subcarriers, int antennas, int coefficients,
                     Complex* __restrict__ z, float* __restrict__ power_out, float* __restrict__ noise) {
  const int a = block(), size = coefficients * antennas;
  if (a >= *count) return;
  z += static_cast<std::int64_t>(a) * size;
  float power = 1.0f;
  if (!known) {
    double energy = 0;
    for (int i = thread(); i < size; i += kThreads) energy += static_cast<double>(norm(z[i]));
    energy = block_sum(energy, dynamic_shared<double>());
    power = device_power(energy, static_cast<float>(subcarriers * antennas),
                         *mean_v * static_cast<float>(coefficients) / static_cast<float>(subcarriers), *mean_v);
  }
  const float gain = 1.0f / sqrtf(power);
  for (int i = thread(); i < size; i += kThreads) z[i] = z[i] * gain;
  for (int b = thread(); b < antennas; b += kThreads) noise[a * antennas + b] = v_b[b] / power;
  if (thread() == 0) power_out[a] = power;
}

__global__ void __launch_bounds__(kThreads)
    gaussian_kernel(const Complex* __restrict__ z, const float* __restrict__ noise,
                    const std::int32_t* __restrict__ count, int subcarriers, int antennas, int coefficients,
                    Complex* __restrict__ mean, float* __restrict__ var) {
  const int a = block(), size = coefficients * antennas;
  if (a >= *count) return;
  const std::int64_t first = static_cast<std::int64_t>(a) * size;
  for (int i = thread(); i < size; i += kThreads)
    mean[first + i] = z[first + i] * gaussian_gain(noise[a * antennas + i % antennas]);
  const float share = static_cast<float>(coefficients) / static_cast<float>(subcarriers);
  for (int b = thread(); b < antennas; b += kThreads) {
    const float v = noise[a * antennas + b];
    var[a * antennas + b] = share * v * gaussian_gain(v);
  }
}

// One block: one beam.
__global__ void __launch_bounds__(kThreads)
    extrinsic_kernel(const float* __restrict__ posterior, const float* __restrict__ power,
                     const float* __restrict__ var, const float* __restrict__ v_b,
                     const std::int32_t* __restrict__ count, float caution, float gamma, int predicted, int devices,
                     int antennas, float* __restrict__ a_out, float* __restrict__ b_out, float* __restrict__ v_a) {
  const int beam = block();
  double total = 0;
  for (int a = thread(); a < *count; a += kThreads)
    total += static_cast<double>(posterior[a] * power[a] * var[a * antennas + beam]);
  total = block_sum(total, dynamic_shared<double>());
  if (thread() > 0) return;
  const float alpha = believed_alpha(static_cast<double>(caution) * total /
                                     (static_cast<double>(v_b[beam]) * static_cast<double>(devices)));
  const float b = alpha / (1.0f - alpha);
  a_out[beam] = 1.0f / (1.0f - alpha);
  b_out[beam] = b;
  if (predicted) v_a[beam] = gamma * v_b[beam] * b + (1.0f - gamma) * v_a[beam];
}

// One block.
__global__ void __launch_bounds__(kAssignThreads)
    assign_kernel(const std::int32_t* __restrict__ device, const std::int32_t* __restrict__ count, int slots,
                  std::int32_t* __restrict__ slot, std::int32_t* __restrict__ support, std::int32_t* __restrict__ place,
                  std::int32_t* __restrict__ counts) {
  int* const part = dynamic_shared<int>();  // [32]
  int* const last = part + 32;
  int* const free = last + 1;  // [slots]
  int vacant = 0, lost = 0;
  if (thread() == 0) *last = 0;
  for (int first = 0; first < slots; first += kAssignThreads) {
    const int i = first + thread();
    const bool empty = i < slots && support[i] < 0;
    int now = 0;
    const int before = vacant + count_before(empty, part, now);
    if (empty) free[before] = i;
    if (i < slots) place[i] = -1;
    if (i < slots && !empty) atomicMax(last, i + 1);
    vacant += now;
  }
  __syncthreads();
  int come = 0;
  for (int first = 0; first < *count; first += kAssignThreads) {
    const int a = first + thread();
    const int k = a < *count ? device[a] : -1;
    int at = k >= 0 ? slot[k] : 0, now = 0;
    const bool comes = at < 0;
    const int before = come + count_before(comes, part, now);
    if (comes && before < vacant) {
      at = free[before];
      slot[k] = at;
      support[at] = k;
      atomicMax(last, at + 1);
    }
    if (k >= 0 && at >= 0) place[at] = a;
    come += now;
  }
  lost = come > vacant ? come - vacant : 0;
  __syncthreads();
  if (thread() > 0) return;
  counts[0] = *last;
  counts[1] = lost;
}

// One block: one slot.
__global__ void __launch_bounds__(kThreads)
    combine_kernel(const float* __restrict__ posterior, const float* __restrict__ power,
                   const Complex* __restrict__ mean, const float* __restrict__ a_in, const float* __restrict__ b_in,
                   const float* __restrict__ mean_v, const std::int32_t* __restrict__ place, float gamma, int prune,
                   int antennas, int coefficients, std::int32_t* __restrict__ slot, std::int32_t* __restrict__ support,
                   Complex* __restrict__ s) {
  const int at = block(), size = coefficients * antennas, k = support[at], a = place[at];
  if (k < 0) return;
  s += static_cast<std::int64_t>(at) * size;
  const float weight = a < 0 ? 0.0f : posterior[a] * sqrtf(power[a]);
  const Complex* const h = mean + static_cast<std::int64_t>(a < 0 ? 0 : a) * size;
  float energy = 0.0f;
  for (int i = thread(); i < size; i += kThreads) {
    Complex value = s[i] * kept(gamma, b_in[i % antennas]);
    if (a >= 0) value = value + h[i] * taken(gamma, weight, a_in[i % antennas]);
    s[i] = value;
    energy += norm(value);
  }
  if (!prune) return;
  energy = block_sum(energy, dynamic_shared<float>());
  if (energy > kNegligible * *mean_v * static_cast<float>(size)) return;
  for (int i = thread(); i < size; i += kThreads) s[i] = {0.0f, 0.0f};
  if (thread() > 0) return;
  slot[k] = -1;
  support[at] = -1;
}

__global__ void __launch_bounds__(kThreads)
    damp_kernel(const Complex* __restrict__ seen, const float* __restrict__ b_in, float gamma, int count, int antennas,
                Complex* __restrict__ big) {
  const int i = block() * kThreads + thread();
  if (i >= count) return;
  const float b = b_in[i % antennas];
  const Complex old = gamma == 1.0f ? Complex{0.0f, 0.0f} : big[i];
  big[i] = {damped(gamma, b, seen[i].re, old.re), damped(gamma, b, seen[i].im, old.im)};
}

}  // namespace

void track(const float* power, const float* gram, const float* level, float mean_gram, int uniform, int measure,
           int devices, int subcarriers, int symbols, int antennas, float* v_a, float* eta, float* v_b, void* stream) {
  launch("track", track_kernel, static_cast<unsigned>(antennas), kThreads, sizeof(double) * kThreads, stream, power,
         gram, level, mean_gram, uniform, measure, devices, subcarriers, symbols, antennas, v_a, eta, v_b);
}

void observe(const float* big, const float* r, const float* gram, const float* level, const float* v_a,
             const float* eta, const float* v_b, int subcarriers, int symbols, int antennas, float* seen, float* mean_v,
             void* stream) {
  launch("observe", observe_kernel, blocks(std::int64_t{subcarriers} * symbols * antennas, kThreads), kThreads, 0,
         stream, complex(big), complex(r), gram, level, v_a, eta, v_b, subcarriers, symbols, antennas, complex(seen),
         mean_v);
}

void normalise(const float* v_b, const float* mean_v, const std::int32_t* count, int capacity, int known,
               int subcarriers, int antennas, int coefficients, float* z, float* power, float* noise, void* stream) {
  launch("normalise", normalise_kernel, static_cast<unsigned>(capacity), kThreads, sizeof(double) * kThreads, stream,
         v_b, mean_v, count, known, subcarriers, antennas, coefficients, complex(z), power, noise);
}

void gaussian(const float* z, const float* noise, const std::int32_t* count, int capacity, int subcarriers,
              int antennas, int coefficients, float* mean, float* var, void* stream) {
  launch("gaussian", gaussian_kernel, static_cast<unsigned>(capacity), kThreads, 0, stream, complex(z), noise, count,
         subcarriers, antennas, coefficients, complex(mean), var);
}

void extrinsic(const float* posterior, const float* power, const float* var, const float* v_b,
               const std::int32_t* count, float caution, float gamma, int predicted, int devices, int antennas,
               float* a, float* b, float* v_a, void* stream) {
  launch("extrinsic", extrinsic_kernel, static_cast<unsigned>(antennas), kThreads, sizeof(double) * kThreads, stream,
         posterior, power, var, v_b, count, caution, gamma, predicted, devices, antennas, a, b, v_a);
}

void assign(const std::int32_t* device, const std::int32_t* count, int slots, std::int32_t* slot, std::int32_t* support,
            std::int32_t* place, std::int32_t* counts, void* stream) {
  launch("assign", assign_kernel, 1, kAssignThreads, sizeof(int) * static_cast<std::size_t>(33 + slots), stream, device,
         count, slots, slot, support, place, counts);
}

void combine(const float* posterior, const float* power, const float* mean, const float* a, const float* b,
             const float* mean_v, const std::int32_t* place, int slots, float gamma, int prune, int antennas,
             int coefficients, std::int32_t* slot, std::int32_t* support, float* s, void* stream) {
  launch("combine", combine_kernel, static_cast<unsigned>(slots), kThreads, sizeof(float) * kThreads, stream, posterior,
         power, complex(mean), a, b, mean_v, place, gamma, prune, antennas, coefficients, slot, support, complex(s));
}

void damp(const float* seen, const float* b, float gamma, int measurements, int antennas, float* big, void* stream) {
  launch("damp", damp_kernel, blocks(std::int64_t{measurements} * antennas, kThreads), kThreads, 0, stream,
         complex(seen), b, gamma, measurements * antennas, antennas, complex(big));
}

}  // namespace jadce::cuda

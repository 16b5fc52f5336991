#include "capi/gpu.hpp"

#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <numbers>
#include <numeric>
#include <optional>
#include <string>
#include <type_traits>

#include "core/graph_cuda.hpp"
#include "kernels/beam_network/beam_network_pack.hpp"
#include "kernels/fft/fft.hpp"
#include "receiver/detection_cuda.hpp"

namespace jadce {

namespace {

constexpr index_t kMostPoints = 14520;  // of a transform in one block's shared memory (transform.py plans alike)

std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

void check(cudaError_t error, const char* what) {
  if (error == cudaErrorMemoryAllocation) throw std::bad_alloc();
  if (error != cudaSuccess) throw GpuError(std::string(what) + ": " + cudaGetErrorString(error));
}

// Makes a GpuError of what launches and graphs throw.
template <class F>
void on_gpu(F f) try {
  f();
} catch (const GpuError&) {
  throw;
} catch (const std::runtime_error& error) {
  throw GpuError(error.what());
}

// The plan's device is the calling thread's meanwhile.
class Here {
 public:
  explicit Here(int device) {
    check(cudaGetDevice(&before_), "cudaGetDevice");
    check(cudaSetDevice(device), "cudaSetDevice");
  }
  ~Here() { cudaSetDevice(before_); }
  Here(const Here&) = delete;
  Here& operator=(const Here&) = delete;

 private:
  int before_ = 0;
};

// Device memory that is held until the end.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;
  ~DeviceMemory() {
    for (void* const piece : held_) cudaFree(piece);
  }

  template <class T>
  T* zeros(index_t count) {
    const std::size_t bytes = at(std::max<index_t>(count, 1)) * sizeof(T);
    void* piece = nullptr;
    held_.reserve(held_.size() + 1);
    check(cudaMalloc(&piece, bytes), "cudaMalloc");
    held_.push_back(piece);
    taken_ += static_cast<index_t>(bytes);
    check(cudaMemset(piece, 0, bytes), "cudaMemset");
    return static_cast<T*>(piece);
  }
  // A copy of an array; null if it is empty. Complex numbers have another name on a GPU.
  template <class T>
  auto put(const T* values, index_t count) {
    using Device = std::conditional_t<std::is_same_v<T, cfloat>, cuda::Complex, T>;
    Device* const piece = count > 0 ? zeros<Device>(count) : nullptr;
    if (count > 0) check(cudaMemcpy(piece, values, at(count) * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
    return piece;
  }
  template <class T>
  auto put(const std::vector<T>& values) {
    return put(values.data(), static_cast<index_t>(values.size()));
  }
  index_t taken() const { return taken_; }

 private:
  std::vector<void*> held_;
  index_t taken_ = 0;
};

std::vector<cfloat> phases(index_t count, double sign, double scale) {
  std::vector<cfloat> out;
  for (index_t k = 0; k < count; ++k)
    out.emplace_back(
        std::polar(scale, sign * 2 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(count)));
  return out;
}

cuda::FftTables fft_tables(DeviceMemory& memory, index_t length) {
  const FftPlan plan(length);
  return {memory.put(plan.twiddle()), memory.put(plan.root()), memory.put(plan.chirp()), memory.put(plan.chirp_dft())};
}

// Chooses the kernel of the statistics of all devices, and plans its tables.
cuda::Statistics plan_statistics(DeviceMemory& memory, const GpuPlan& p, cuda::DetectionTables& tables) {
  const index_t k = p.shape.devices, t = p.shape.symbols, n = p.shape.subcarriers;
  if (p.rows == nullptr) return cuda::kDirect;
  const FftPlan fft(k);
  if (fft.padded() > kMostPoints && !fft.chirp().empty()) return cuda::kDirect;
  std::vector<std::int32_t> start(at(k + 1)), order(at(t * n));
  const auto row = [&](std::int32_t measurement) { return p.rows[measurement % n * t + measurement / n]; };
  std::iota(order.begin(), order.end(), 0);  // t N + n
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return row(a) < row(b); });
  for (index_t i = 0; i < t * n; ++i) ++start[at(p.rows[i] + 1)];
  std::partial_sum(start.begin(), start.end(), start.begin());
  tables.rows = {memory.put(start), memory.put(order)};
  if (fft.padded() <= kMostPoints) {
    tables.amplitude = 1;
    tables.fft = fft_tables(memory, k);
    return cuda::kSpectral;
  }
  tables.first = static_cast<int>(fft_split(k));
  tables.first_fft = fft_tables(memory, tables.first);
  tables.second_fft = fft_tables(memory, k / tables.first);
  return cuda::kSpectralLarge;
}

cuda::NetworkTables network_tables(DeviceMemory& memory, const NetworkWeights& network, const GpuPlan& p) {
  const cuda::NetworkShape shape{static_cast<int>(network.layers[0].outputs),
                                 static_cast<int>(network.layers[2].outputs), static_cast<int>(network.dilation.size()),
                                 static_cast<int>(network.layers[1].inputs)};
  const int coefficients = static_cast<int>(p.shape.coefficients), antennas = static_cast<int>(p.shape.antennas);
  const bool tensor = p.bf16 && cuda::beam_network_tensor_fits(shape, coefficients, antennas);
  if (!tensor && !cuda::beam_network_fits(shape, coefficients, antennas))
    throw Unsupported("prior: expected a network that fits the GPU's kernels with these antennas, found a larger one");
  std::vector<float> single;
  std::vector<std::uint32_t> words;
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const NetworkWeights::Layer& x = network.layers[i];
    const bool depthwise = i % 3 == 1 && i + 1 < network.layers.size();
    if (tensor)
      (depthwise ? pack_depthwise_tensor : pack_dense_tensor)(x.outputs, x.inputs, x.weight.data(), x.bias.data(),
                                                              words);
    else
      (depthwise ? pack_depthwise : pack_dense)(x.outputs, x.inputs, x.weight.data(), x.bias.data(), single);
  }
  return {.eigenvalue = memory.put(p.prior.beams.eigenvalue),
          .weights = tensor ? static_cast<const void*>(memory.put(words)) : memory.put(single),
          .dilation = memory.put(network.dilation),
          .shape = shape,
          .tensor = tensor};
}

class CudaGpu final : public Gpu {
 public:
  explicit CudaGpu(const GpuPlan& p) {
    check(cudaGetDevice(&device_), "cudaGetDevice");
    const Shape& s = p.shape;
    cuda::DetectionTables& t = plan_.tables;
    const bool identity = p.prior.closed_form;
    t.gram = memory_.put(p.rotated.gram);
    t.basis = identity ? nullptr : memory_.put(p.prior.basis);
    t.dft = identity ? nullptr : memory_.put(phases(s.antennas, -1, 1 / std::sqrt(static_cast<double>(s.antennas))));
    t.rotation = memory_.put(p.rotated.rotation);
    const std::vector<float> gain(p.loop.amplitude.begin(), p.loop.amplitude.end());
    t.gain = memory_.put(gain);
    if (p.rows != nullptr)
      t.pilots = {memory_.put(p.rows, s.measurements()), memory_.put(phases(s.devices, 1, 1)), nullptr};
    else
      t.pilots = {nullptr, nullptr, memory_.put(p.rotated.array)};
    const ActivityPlan& a = p.loop.activity;
    t.mixture = a.view();
    t.mixture.product = memory_.put(a.product);
    t.mixture.weight = memory_.put(a.weight);
    t.mixture.log_power_weight = memory_.put(a.log_power_weight);
    t.mixture.power = memory_.put(a.power);
    t.mixture.index = memory_.put(a.index);
    t.mixture.eigenvalue = memory_.put(a.eigenvalue);
    t.mixture.multiplicity = memory_.put(a.multiplicity);
    for (const NetworkWeights& network : p.prior.weights) t.networks.push_back(network_tables(memory_, network, p));
    const cuda::Statistics statistics = plan_statistics(memory_, p, t);
    plan_.shape = {.sizes = {static_cast<int>(s.devices), static_cast<int>(s.subcarriers), static_cast<int>(s.symbols),
                             static_cast<int>(s.antennas), static_cast<int>(s.coefficients), 1},
                   .capacity = static_cast<int>(p.loop.capacity),
                   .merge = static_cast<int>(p.merge),
                   .products = static_cast<int>(a.product.size()),
                   .max_iterations = p.loop.rules.max_iterations,
                   .statistics = statistics};
    cuda::each_buffer(plan_.memory, plan_.shape,
                      [this]<class T>(const char*, T*& pointer, std::initializer_list<index_t> sides) {
                        index_t count = 1;
                        for (const index_t side : sides) count *= side;
                        pointer = memory_.zeros<T>(count);
                      });
    plan_.rules = p.loop.rules;
    plan_.log_odds = p.loop.log_odds;
    plan_.learn_rate = p.loop.learn_rate;
    plan_.known = static_cast<float>(p.loop.power);
    plan_.expected = static_cast<float>(p.loop.expected);
    plan_.closed_form = p.prior.closed_form;
    const std::vector<float>& gram = p.rotated.gram;
    plan_.mean_gram =
        static_cast<float>(std::accumulate(gram.begin(), gram.end(), 0.0) / static_cast<double>(gram.size()));
    plan_.uniform = std::all_of(gram.begin(), gram.end(), [&](float g) { return g == gram[0]; });
    plan_.left = plan_.memory.power;
    block_ = memory_.zeros<cuda::Complex>(s.measurements() * s.antennas);
    const cuda::DetectionMemory& m = plan_.memory;
    results_ = {m.active, reinterpret_cast<const cfloat*>(m.channels), m.channel_var, m.activity, m.control};
    check(cudaStreamCreateWithFlags(&own_.stream, cudaStreamNonBlocking), "cudaStreamCreate");
    check(cudaEventCreateWithFlags(&own_.done, cudaEventDisableTiming), "cudaEventCreate");
    check(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize");  // no stream of its own waits for that one
    on_gpu([this] { record(); });
  }

  ~CudaGpu() override { cudaEventSynchronize(own_.done); }  // the GPU may still be at work

  index_t memory() const override { return memory_.taken(); }
  const Results& results() const override { return results_; }

  void enqueue(const cfloat* y, double noise_var, void* stream) override {
    const Here here(device_);
    on_gpu(
        [&] { enqueue_here(reinterpret_cast<const cuda::Complex*>(y), noise_var, static_cast<cudaStream_t>(stream)); });
  }

  void enqueue_copy(const cfloat* y, double noise_var) override {
    const Here here(device_);
    const std::size_t bytes = sizeof(cfloat) * at(plan_.shape.sizes.symbols) * at(plan_.shape.sizes.subcarriers) *
                              at(plan_.shape.sizes.antennas);
    check(cudaStreamWaitEvent(own_.stream, own_.done, 0), "cudaStreamWaitEvent");
    check(cudaMemcpyAsync(block_, y, bytes, cudaMemcpyHostToDevice, own_.stream), "cudaMemcpyAsync");
    on_gpu([&] { enqueue_here(block_, noise_var, own_.stream); });
  }

  const Control* wait() override {
    if (!asked_) return nullptr;
    const Here here(device_);
    check(cudaEventSynchronize(own_.done), "cudaEventSynchronize");
    copy(&control_, results_.control, sizeof control_);
    return &control_;
  }

  void copy(void* to, const void* from, index_t bytes) override {
    const Here here(device_);
    check(cudaMemcpy(to, from, at(bytes), cudaMemcpyDeviceToHost), "cudaMemcpy");
  }

 private:
  // Steps of a detection on a stream that records, with a loop.
  void record_on(void* stream, cuda::Loop& loop) const {
    for (const cuda::Step& step : cuda::first_steps()) step.enqueue(plan_, cuda::kNoLoop, stream);
    const auto [body, handle] = loop.open(stream);
    for (int i = 0; i < cuda::kRounds; ++i)
      for (const cuda::Step& step : cuda::iteration_steps()) step.enqueue(plan_, handle, body);
    loop.close();
    for (const cuda::Step& step : cuda::last_steps()) step.enqueue(plan_, cuda::kNoLoop, stream);
  }

  // Makes the graph after one trial run that loads all kernels, and tries it: a driver may not overlap kernels inside a
  // loop.
  void record() {
    const float nothing = std::numeric_limits<float>::quiet_NaN();  // ends the loop in its first pass
    set_input(block_, 1.0, own_.stream);
    for (const auto steps : {cuda::first_steps(), cuda::iteration_steps(), cuda::last_steps()})
      for (const cuda::Step& step : steps) step.enqueue(plan_, cuda::kNoLoop, own_.stream);
    check(cudaStreamSynchronize(own_.stream), "cudaStreamSynchronize");
    check(cudaMemcpy(block_, &nothing, sizeof nothing, cudaMemcpyHostToDevice), "cudaMemcpy");
    for (overlapping_ = true;; overlapping_ = false) try {
        graph_.emplace(overlapping_);
        graph_->record([this](void* stream, cuda::Loop& loop) { record_on(stream, loop); });
        graph_->launch(own_.stream);
        check(cudaStreamSynchronize(own_.stream), "cudaStreamSynchronize");
        return;
      } catch (const std::runtime_error&) {
        if (!overlapping_) throw;
      }
  }

  void set_input(const cuda::Complex* y, double noise_var, cudaStream_t stream) const {
    cuda::set_input({.y = y,
                     .noise_var = static_cast<float>(noise_var),
                     .blocks = 1,
                     .deadline = std::numeric_limits<float>::infinity(),
                     .input = plan_.memory.input},
                    stream);
  }

  void enqueue_here(const cuda::Complex* y, double noise_var, cudaStream_t stream) {
    cudaStreamCaptureStatus status{};
    check(cudaStreamIsCapturing(stream, &status), "cudaStreamIsCapturing");
    if (status != cudaStreamCaptureStatusNone) {  // a graph of the caller's gets the kernels themselves
      const cuda::Overlapping overlapping(overlapping_);
      set_input(y, noise_var, stream);
      cuda::Loop loop(overlapping_);
      record_on(stream, loop);
      asked_ = true;
      return;
    }
    check(cudaStreamWaitEvent(stream, own_.done, 0), "cudaStreamWaitEvent");
    set_input(y, noise_var, stream);
    graph_->launch(stream);
    check(cudaEventRecord(own_.done, stream), "cudaEventRecord");
    asked_ = true;
  }

  struct Own {
    cudaStream_t stream = nullptr;
    cudaEvent_t done = nullptr;
    ~Own() {
      if (done) cudaEventDestroy(done);
      if (stream) cudaStreamDestroy(stream);
    }
  };

  int device_ = 0;
  DeviceMemory memory_;
  Own own_;
  cuda::DetectionPlan plan_{};
  cuda::Complex* block_ = nullptr;  // [T, N, M] of the host's
  Results results_{};
  bool overlapping_ = false, asked_ = false;
  std::optional<cuda::Graph> graph_;
  Control control_{};
};

}  // namespace

std::unique_ptr<Gpu> Gpu::plan(const GpuPlan& plan) {
  int device = 0;
  const cudaError_t error = cudaGetDevice(&device);
  if (error != cudaSuccess)
    throw Unsupported(std::string("device: expected JADCE_CPU, found JADCE_CUDA, but CUDA is off: ") +
                      cudaGetErrorString(error));
  return std::make_unique<CudaGpu>(plan);
}

}  // namespace jadce

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "core/tensor_cuda.hpp"
#include "kernels/beam_network/beam_network_cuda.hpp"
#include "kernels/beam_network/beam_network_element_cuda.hpp"

namespace jadce::cuda {

namespace {

constexpr int kThreads = 512, kWarps = kThreads / 32;
constexpr int kTile = 16;  // rows and columns of a matrix instruction
constexpr int kRun = 2;    // beams of a thread in a depthwise layer: all warps have some where there are 32 beams
constexpr int kMostTogether = 4;  // candidates of a block at a time

JADCE_INLINE int up(int count) { return (count + kTile - 1) / kTile * kTile; }

// Layout of a candidate's data in shared memory, in words of four bytes if not said otherwise. Channels are padded
// with zeros to whole tiles, beams with rows that nobody reads: rows of a product depend on their own row only.
struct Layout : NetworkShape {  // width and hidden padded
  int coefficients, antennas;
  int together;  // candidates that have room

  JADCE_INLINE int rows() const { return up(antennas); }
  JADCE_INLINE int features() const { return up(3 * coefficients + 1); }
  JADCE_INLINE int outputs() const { return up(2 * coefficients + 1); }
  JADCE_INLINE static int larger(int a, int b) { return a > b ? a : b; }

  // Strides of a row, in shared memory. Padded so that eight lanes with 16 bytes of eight rows, and sixteen lanes with
  // 8 bytes of four rows, hit all banks.
  JADCE_INLINE int narrow() const { return larger(features(), width) / 2 + 4; }  // pairs: features, depthwise, trunk
  JADCE_INLINE int inner() const { return hidden / 2 + 4; }                      // pairs
  JADCE_INLINE int wide() const { return larger(width, outputs()) + 8; }         // floats: trunk or outputs
  JADCE_INLINE int activations() const { return together * rows() * (narrow() + inner() + wide()); }

  // Packed weights come in pieces: the first layer, then of every block its depthwise and first dense layer, its second
  // dense layer, at last the last layer.
  JADCE_INLINE static int dense(int outputs, int inputs) { return outputs + outputs * inputs / 2; }
  JADCE_INLINE int first() const { return dense(width, features()); }
  JADCE_INLINE int expand() const { return width * (1 + taps) + dense(hidden, width); }
  JADCE_INLINE int mix() const { return dense(width, hidden); }
  JADCE_INLINE int last() const { return dense(outputs(), width); }
  JADCE_INLINE int pieces() const { return 2 * blocks + 2; }
  JADCE_INLINE int piece(int i) const {
    return i == 0 ? first() : i + 1 == pieces() ? last() : i % 2 == 1 ? expand() : mix();
  }
  JADCE_INLINE int offset(int i) const {
    return i == 0 ? 0 : first() + (i - 1) / 2 * (expand() + mix()) + (i - 1) % 2 * expand();
  }
  JADCE_INLINE int all() const { return offset(pieces() - 1) + last(); }
  JADCE_INLINE int largest() const { return larger(larger(first(), last()), larger(expand(), mix())); }
};

__device__ int lane_index() { return static_cast<int>(threadIdx.x) % 32; }
__device__ int warp_index() { return static_cast<int>(threadIdx.x) / 32; }

// The packed weights on their way to shared memory, piece by piece ahead of their use. All of them stay there, or two
// pieces have room and they come once a pass.
template <bool kResident>
class Stream {
 public:
  __device__ Stream(const Layout& layout, const unsigned* __restrict__ weights, unsigned* shared)
      : layout_(layout), weights_(weights), shared_(shared), left_(layout.pieces()) {
    for (int i = 0; i < kAhead; ++i) issue();
  }

  __device__ void set_passes(int passes) {
    if (!kResident) left_ += layout_.pieces() * (passes - 1);
  }

  // A barrier, after which the first piece is there.
  __device__ void begin() {
    wait_copies<kAhead - 1>();
    __syncthreads();
  }

  __device__ const float* current() const { return reinterpret_cast<const float*>(shared_ + place(current_)); }

  // Ends a piece: a barrier, after which the next one is there and the room of this one is free.
  __device__ void advance() {
    current_ = after(current_);
    wait_copies<kAhead - 2>();
    __syncthreads();
    issue();
  }

 private:
  static constexpr int kAhead = kResident ? 4 : 2;  // pieces that are issued before they are needed

  __device__ int after(int i) const { return i + 1 < layout_.pieces() ? i + 1 : 0; }
  // The number of pieces is even: they alternate, also from the last one to the first.
  __device__ int place(int i) const { return kResident ? layout_.offset(i) : i % 2 * layout_.largest(); }
  __device__ void issue() {
    if (left_-- > 0) {
      const int count = layout_.piece(next_) / 4;
      const uint4* const from = reinterpret_cast<const uint4*>(weights_ + layout_.offset(next_));
      uint4* const to = reinterpret_cast<uint4*>(shared_ + place(next_));
#pragma unroll 1
      for (int j = static_cast<int>(threadIdx.x); j < count; j += kThreads) copy_async(to + j, from + j);
      next_ = after(next_);
    }
    commit_copies();  // also an empty group: waiting counts groups
  }

  const Layout& layout_;
  const unsigned* weights_;
  unsigned* shared_;
  int left_, next_ = 0, current_ = 0;
};

// Products of kTiles x kTile beams by kTile output channels a warp. x: pairs of inputs, [rows, stride]. layer: bias
// [outputs], then weights per tile of outputs and of inputs as each lane wants them (pack_dense_tensor).
// store(beam, channel, value, value of channel + 1).
template <int kTiles, class Store>
__device__ void dense_tiles(const unsigned* x, int stride, int rows, int inputs, int outputs, const float* layer,
                            const Store& store) {
  const int lane = lane_index(), steps = inputs / kTile;
  const uint4* const weights = reinterpret_cast<const uint4*>(layer + outputs) + lane;
  x += lane % 16 * stride + lane / 16 * 4;
  for (int beam = 0, channel_tile = warp_index();; channel_tile += kWarps) {
    for (; channel_tile >= outputs / kTile; beam += kTiles * kTile) channel_tile -= outputs / kTile;
    if (beam >= rows) return;
    float acc[kTiles][2][4] = {};
#pragma unroll 4
    for (int k = 0; k < steps; ++k) {
      const uint4 w = weights[(channel_tile * steps + k) * 32];
#pragma unroll
      for (int i = 0; i < kTiles; ++i) {
        unsigned a[4];
        load_matrix(a, x + (beam + i * kTile) * stride + k * kTile / 2);
        multiply_add(acc[i][0], a, w.x, w.y);
        multiply_add(acc[i][1], a, w.z, w.w);
      }
    }
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int channel = channel_tile * kTile + 8 * j + 2 * (lane % 4);
      const float2 bias = *reinterpret_cast<const float2*>(layer + channel);
#pragma unroll
      for (int i = 0; i < 2 * kTiles; ++i)
        store(beam + 8 * i + lane / 4, channel, acc[i / 2][j][i % 2 * 2] + bias.x,
              acc[i / 2][j][i % 2 * 2 + 1] + bias.y);
    }
  }
}

// Thirty-two beams a warp, which halves the reads of weights, where that keeps all warps busy.
template <class Store>
__device__ void dense(const unsigned* x, int stride, int rows, int inputs, int outputs, const float* layer,
                      const Store& store) {
  if (rows % (2 * kTile) == 0 && outputs / kTile * (rows / (2 * kTile)) >= kWarps)
    dense_tiles<2>(x, stride, rows, inputs, outputs, layer, store);
  else
    dense_tiles<1>(x, stride, rows, inputs, outputs, layer, store);
}

// One short convolution over beams per channel; beams are periodic. A thread has two channels of kRun beams that are
// d = `dilation` apart, whose inputs overlap. layer: bias [width], weights [taps, width].
__device__ void depthwise(const Layout& s, const float* trunk, int d, const float* layer, unsigned* out) {
  const int pairs = s.width / 2, m = s.antennas;
  int hop = d;
  while (hop >= m) hop -= m;
  // Warps take turns at the first beams of runs, channels are lanes; loops instead of the slow integer division.
  for (int base = 0, offset = warp_index();; offset += kWarps) {
    for (; offset >= d; base += kRun * d) offset -= d;
    if (base >= m) return;
    const int first = base + offset;
    if (first >= m) continue;
    for (int c = lane_index(); c < pairs; c += 32) {
      int beam = first - s.taps / 2 * d;
      while (beam < 0) beam += m;
      const auto next = [&] {
        const float2 value = *reinterpret_cast<const float2*>(trunk + beam * s.wide() + 2 * c);
        beam += hop;
        if (beam >= m) beam -= m;
        return value;
      };
      const float2* weight = reinterpret_cast<const float2*>(layer) + c;
      float2 window[kRun], total[kRun];
#pragma unroll
      for (int r = 0; r < kRun; ++r) {
        total[r] = *weight;
        if (r > 0) window[r] = next();
      }
      for (int t = 0; t < s.taps; ++t) {
        weight += pairs;
        const float2 w = *weight;
#pragma unroll
        for (int r = 0; r < kRun; ++r) {
          window[r] = r + 1 < kRun ? window[r + 1] : next();
          total[r].x += w.x * window[r].x;
          total[r].y += w.y * window[r].y;
        }
      }
#pragma unroll
      for (int r = 0; r < kRun; ++r)
        if (first + r * d < m) out[(first + r * d) * s.narrow() + c] = round_pair(total[r].x, total[r].y);
    }
  }
}

// f(p, beam) of all p < count, warps taking turns at p, beams being lanes.
template <class F>
__device__ void for_beams(int count, int antennas, const F& f) {
  for (int p = warp_index(); p < count; p += kWarps)
    for (int beam = lane_index(); beam < antennas; beam += 32) f(p, beam);
}

// Rounded features of one candidate, channels beyond them zero.
__device__ void write_features(const Layout& s, const Complex* z, const float* noise,
                               const float* __restrict__ eigenvalue, unsigned short* out) {
  const int m = s.antennas, p_all = s.coefficients, stride = 2 * s.narrow();
  for_beams(s.features() - 2 * p_all, m, [=](int p, int beam) {
    const auto put = [=](int channel, float value) {
      out[beam * stride + channel] = static_cast<unsigned short>(round_pair(value, 0.0f));
    };
    const float level = noise_level(noise[beam]);
    if (p < p_all) {
      const Features f = features(z[p * m + beam], eigenvalue[p], level);
      put(p, f.re);
      put(p_all + p, f.im);
      put(2 * p_all + p, f.energy);
    } else {
      put(2 * p_all + p, p == p_all ? level_feature(level) : 0.0f);
    }
  });
}

// A candidate of all received blocks: the a-th from block b on.
struct Walk {
  int b, a;

  // Its place, and on to the next one.
  __device__ std::int64_t next(const BeamNetworkArgs& args) {
    for (int count = candidates_of(args, b); a >= count; count = candidates_of(args, ++b)) a -= count;
    return static_cast<std::int64_t>(b) * args.capacity + a++;
  }
};

// Blocks have equal shares of all candidates, which follow each other. A block takes `together` of them at a time,
// with what weights cost shared by these.
template <bool kResident>
__global__ void __launch_bounds__(kThreads, 1)
    tensor_kernel(const __grid_constant__ BeamNetworkArgs args, const float* __restrict__ eigenvalue,
                  const unsigned* __restrict__ weights, const std::int32_t* __restrict__ dilation,
                  const __grid_constant__ Layout s) {
  Complex* __restrict__ mean = args.mean;
  float* __restrict__ var = args.var;
  float* const trunk = dynamic_shared<float>();
  unsigned* const narrow = reinterpret_cast<unsigned*>(trunk + s.together * s.rows() * s.wide());
  unsigned* const inner = narrow + s.together * s.rows() * s.narrow();
  Stream<kResident> stream(s, weights, inner + s.together * s.rows() * s.inner());
  after_previous();
  std::int64_t total = 0;
  for (int b = 0; b < args.sizes.batch; ++b) total += candidates_of(args, b);
  const auto until = [total](unsigned blocks) { return static_cast<int>(total * blocks / gridDim.x); };
  const int first = until(blockIdx.x), last = until(blockIdx.x + 1);
  if (first == last) {  // known only now: weights do not wait for the counts
    wait_copies<0>();
    return;
  }
  stream.set_passes((last - first + s.together - 1) / s.together);
  const int m = s.antennas, p_all = s.coefficients, wide = s.wide();
  const auto write = [=](int beam, int channel, float first_value, float second) {
    *reinterpret_cast<float2*>(trunk + beam * wide + channel) = make_float2(first_value, second);
  };
  Walk walk{0, first};
  for (int from = first; from < last; from += s.together) {
    const int now = min(s.together, last - from), rows = now * s.rows();
    Walk input = walk;
    for (int j = 0; j < now; ++j) {
      const std::int64_t candidate = input.next(args);
      write_features(s, args.z + candidate * p_all * m, args.noise + candidate * m, eigenvalue,
                     reinterpret_cast<unsigned short*>(narrow + j * s.rows() * s.narrow()));
    }
    stream.begin();
    dense(narrow, s.narrow(), rows, s.features(), s.width, stream.current(), write);
    stream.advance();
    for (int i = 0; i < s.blocks; ++i) {
      for (int j = 0; j < now; ++j)
        depthwise(s, trunk + j * s.rows() * wide, dilation[i], stream.current(), narrow + j * s.rows() * s.narrow());
      __syncthreads();
      dense(narrow, s.narrow(), rows, s.width, s.hidden, stream.current() + s.width * (1 + s.taps),
            [=](int beam, int channel, float first_value, float second) {
              const auto silu = [](float x) { return __fdividef(x, 1.0f + __expf(-x)); };
              inner[beam * s.inner() + channel / 2] = round_pair(silu(first_value), silu(second));
            });
      stream.advance();
      dense(inner, s.inner(), rows, s.hidden, s.width, stream.current(),
            [=](int beam, int channel, float first_value, float second) {
              float2* const at = reinterpret_cast<float2*>(trunk + beam * wide + channel);
              const float2 before = *at, after = make_float2(before.x + first_value, before.y + second);
              *at = after;
              if (i + 1 == s.blocks) narrow[beam * s.narrow() + channel / 2] = round_pair(after.x, after.y);
            });
      stream.advance();
    }
    dense(narrow, s.narrow(), rows, s.width, s.outputs(), stream.current(), write);
    stream.advance();
    for (int j = 0; j < now; ++j) {
      const std::int64_t candidate = walk.next(args);
      const Complex* const z = args.z + candidate * p_all * m;
      const float* const noise = args.noise + candidate * m;
      const float* const found = trunk + j * s.rows() * wide;
      for_beams(p_all + 1, m, [=](int p, int beam) {
        const float level = noise_level(noise[beam]);
        const float* const f = found + beam * wide;
        if (p < p_all) {
          const std::int64_t i = candidate * p_all * m + p * m + beam;
          mean[i] = posterior_mean(z[p * m + beam], eigenvalue[p], level, {f[p], f[p_all + p]});
        } else {
          var[candidate * m + beam] = posterior_var(eigenvalue, p_all, level, f[2 * p_all], args.sizes.subcarriers);
        }
      });
    }
  }
}

struct Device {
  std::size_t shared;
  int multiprocessors;
};

Device current_device() {
  int device = 0, shared = 0, multiprocessors = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
  if (error != cudaSuccess) throw std::runtime_error(std::string("beam_network_tensor: ") + cudaGetErrorString(error));
  return {static_cast<std::size_t>(shared), multiprocessors};
}

std::size_t bytes(int words) { return 4 * static_cast<std::size_t>(words); }

Layout layout_of(NetworkShape shape, int coefficients, int antennas) {
  shape.width = up(shape.width);
  shape.hidden = up(shape.hidden);
  return {shape, coefficients, antennas, 1};
}

}  // namespace

bool beam_network_tensor_fits(const NetworkShape& shape, int coefficients, int antennas) {
  const Layout s = layout_of(shape, coefficients, antennas);
  return bytes(s.activations() + 2 * s.largest()) <= current_device().shared;
}

void beam_network_tensor(const BeamNetworkArgs& args, void* stream) {
  Layout s = layout_of(args.shape, args.sizes.coefficients, args.sizes.antennas);
  const Device device = current_device();
  const auto needed = [&](int weights) { return bytes(s.activations() + weights); };
  const std::size_t least = needed(2 * s.largest());
  if (least > device.shared)
    throw std::runtime_error("beam_network_tensor: activations of " + std::to_string(s.antennas) +
                             " antennas and two layers need " + std::to_string(least) +
                             " bytes of shared memory, a block has " + std::to_string(device.shared));
  const bool resident = needed(s.all()) <= device.shared;
  const int held = resident ? s.all() : 2 * s.largest();
  s.together = kMostTogether;
  while (needed(held) > device.shared) s.together /= 2;
  const std::size_t shared = needed(held);
  launch("beam_network_tensor", resident ? tensor_kernel<true> : tensor_kernel<false>,
         static_cast<unsigned>(std::min(device.multiprocessors, args.sizes.batch * args.capacity)), kThreads, shared,
         stream, args, args.eigenvalue, static_cast<const unsigned*>(args.weights), args.dilation, s);
}

}  // namespace jadce::cuda

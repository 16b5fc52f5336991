#include "kernels/families.hpp"
#include "kernels/fft/fft_simd.hpp"
#include "kernels/posterior/posterior.hpp"

namespace jadce::JADCE_ISA {

namespace {

void beamspace(BeamspaceArgs args, index_t n) {
  const Shape& s = args.shape;
  const float* const rotation = args.rotation;
  float* const out = args.out;
  float* const rows = rotation ? args.scratch : out + (n * s.symbols + args.first) * s.point();
  for (index_t t = 0; t < args.count; ++t) {
    const float* x = args.y + (t * s.subcarriers + n) * s.antennas * 2;
    for (index_t b = 0; b < s.lanes; b += W) {
      cvec total{};
      for (index_t m = 0; m < s.antennas; ++m) {
        const float* d = args.dft + m * s.point() + b;
        total = total + turn({load(d), load(d + s.lanes)}, x + 2 * m);
      }
      store(rows + t * s.point() + b, total.re);
      store(rows + t * s.point() + s.lanes + b, total.im);
    }
  }
  if (!rotation) return;
  for (index_t i = 0; i < s.symbols; ++i) {
    const float* u = rotation + ((n * s.symbols + i) * s.symbols + args.first) * 2;
    float* o = out + (n * s.symbols + i) * s.point();
    for (index_t b = 0; b < s.lanes; b += W) {
      cvec total{};
      if (args.first > 0) total = {load(o + b), load(o + s.lanes + b)};
      for (index_t t = 0; t < args.count; ++t) {
        const float* x = rows + t * s.point() + b;
        total = total + turn({load(x), load(x + s.lanes)}, u + 2 * t);
      }
      store(o + b, total.re);
      store(o + s.lanes + b, total.im);
    }
  }
}

template <int N>
struct Number {};

// A task's part of a job: `index` of the subcarriers or devices, and beams from `beam` to `end`. Tasks of the same
// beams are neighbours.
struct Part {
  index_t index, beam, end;
};

Part part_of(const Shape& s, index_t task, index_t count) {
  const index_t beam = task / count * s.together();
  return {task % count, beam, beam + s.together()};
}

// Calls f for tiles of rows and of beams from `beam` to `end`: a number of rows and of vectors of beams which the
// registers hold, and the first row and beam.
template <class F>
void tiles(index_t rows, index_t beam, index_t end, F f) {
  const auto beams = [&](auto vectors, index_t b) {
    index_t i = 0;
    for (; i + 4 <= rows; i += 4) f(Number<4>{}, vectors, i, b);
    for (; i + 2 <= rows; i += 2) f(Number<2>{}, vectors, i, b);
    if (i < rows) f(Number<1>{}, vectors, i, b);
  };
  index_t b = beam;
  if constexpr (W == 16)
    for (; b + 2 * W <= end; b += 2 * W) beams(Number<2>{}, b);
  for (; b < end; b += W) beams(Number<1>{}, b);
}

// A complex matrix; strides in floats, the imaginary parts `imag` floats after the real ones.
struct Matrix {
  const float* at;
  index_t row, column, imag = 1;
};

// acc[i] = sum over k of w[i, k] x[k], or with `conjugate` of conj(w[i, k]) x[k]. Columns of zeros are passed over if
// there may be many: a basis may be of single subcarriers.
template <bool conjugate, bool sparse, int I, int B>
void product(Matrix w, index_t count, const float* x, index_t step, index_t half, cvec (&acc)[I][B]) {
  for (int i = 0; i < I; ++i)
    for (int j = 0; j < B; ++j) acc[i][j] = cvec{};
  for (index_t k = 0; k < count; ++k, w.at += w.column, x += step) {
    if constexpr (sparse) {
      bool zero = true;
      for (int i = 0; i < I; ++i) zero = zero && w.at[i * w.row] == 0.0f && w.at[i * w.row + w.imag] == 0.0f;
      if (zero) continue;
    }
    cvec in[B];
    for (int j = 0; j < B; ++j) in[j] = {load(x + j * W), load(x + half + j * W)};
    for (int i = 0; i < I; ++i) {
      const float re = w.at[i * w.row], im = w.at[i * w.row + w.imag];
      for (int j = 0; j < B; ++j) {
        acc[i][j].re += re * in[j].re;
        acc[i][j].im += re * in[j].im;
        acc[i][j].re = conjugate ? acc[i][j].re + im * in[j].im : acc[i][j].re - im * in[j].im;
        acc[i][j].im = conjugate ? acc[i][j].im - im * in[j].re : acc[i][j].im + im * in[j].re;
      }
    }
  }
}

template <int B>
void write(float* to, index_t half, const cvec (&x)[B]) {
  for (int j = 0; j < B; ++j) {
    store(to + j * W, x[j].re);
    store(to + half + j * W, x[j].im);
  }
}

void correlate(CorrelateArgs args, index_t task) {
  const Shape& s = args.shape;
  const Part part = part_of(s, task, s.subcarriers);
  const index_t n = part.index;
  tiles(args.count, part.beam, part.end, [&]<int I, int B>(Number<I>, Number<B>, index_t a, index_t b) {
    cvec acc[I][B];
    const Matrix q{args.pilots + n * args.pilots_row + a * s.symbols * 2, s.symbols * 2, 2};
    product<true, false>(q, s.symbols, args.r + n * s.symbols * s.point() + b, s.point(), s.lanes, acc);
    for (int i = 0; i < I; ++i) write(args.points + (n * args.count + a + i) * s.point() + b, s.lanes, acc[i]);
  });
}

// Copies complex rows of some beams; strides in floats, `half` from real to imaginary parts.
struct Rows {
  float* at;
  index_t row, half;
};

void copy_rows(Rows in, Rows out, index_t rows, index_t beams) {
  for (index_t i = 0; i < rows; ++i)
    for (index_t b = 0; b < beams; b += W) {
      store(out.at + i * out.row + b, load(in.at + i * in.row + b));
      store(out.at + i * out.row + out.half + b, load(in.at + i * in.row + in.half + b));
    }
}

void analyse(const TransformView& v, PointsArgs args, index_t task) {
  const Shape& s = v.shape;
  const Part part = part_of(s, task, args.count);
  float* const z = args.z + part.index * s.channel();
  float* const points = args.points + part.index * s.point();
  const index_t half = s.coefficients * s.lanes, row = args.count * s.point();
  if (v.identity)
    return copy_rows({points + part.beam, row, s.lanes}, {z + part.beam, s.lanes, half}, s.subcarriers, s.together());
  tiles(s.coefficients, part.beam, part.end, [&]<int I, int B>(Number<I>, Number<B>, index_t p, index_t b) {
    cvec acc[I][B];
    product<true, true>({v.basis + p * 2, 2, s.coefficients * 2}, s.subcarriers, points + b, row, s.lanes, acc);
    for (int i = 0; i < I; ++i) write(z + (p + i) * s.lanes + b, half, acc[i]);
  });
}

void synthesise(const TransformView& v, PointsArgs args, index_t task) {
  const Shape& s = v.shape;
  const Part part = part_of(s, task, args.count);
  float* const z = args.z + part.index * s.channel();
  float* const points = args.points + part.index * s.point();
  const index_t half = s.coefficients * s.lanes, row = args.count * s.point();
  if (v.identity)
    return copy_rows({z + part.beam, s.lanes, half}, {points + part.beam, row, s.lanes}, s.subcarriers, s.together());
  tiles(s.subcarriers, part.beam, part.end, [&]<int I, int B>(Number<I>, Number<B>, index_t n, index_t b) {
    cvec acc[I][B];
    const Matrix basis{v.basis + n * s.coefficients * 2, s.coefficients * 2, 2};
    product<false, true>(basis, s.coefficients, z + b, s.lanes, half, acc);
    for (int i = 0; i < I; ++i) write(points + (n + i) * row + b, s.lanes, acc[i]);
  });
}

void residual(ResidualArgs args, index_t task) {
  const Shape& s = args.shape;
  const Part part = part_of(s, task, s.subcarriers);
  const index_t n = part.index, start = n * s.symbols * s.point();
  for (index_t b = part.beam; b < part.end; b += W) store(args.power + n * s.lanes + b, vec{});
  tiles(s.symbols, part.beam, part.end, [&]<int I, int B>(Number<I>, Number<B>, index_t t, index_t b) {
    cvec acc[I][B];
    const Matrix q{args.pilots + n * args.pilots_row + t * 2, 2, s.symbols * 2};
    product<false, false>(q, args.count, args.points + n * args.count * s.point() + b, s.point(), s.lanes, acc);
    for (int j = 0; j < B; ++j) {
      float* const power = args.power + n * s.lanes + b + j * W;
      vec total = load(power);
      for (int i = 0; i < I; ++i) {
        const float g = args.gram ? args.gram[n * s.symbols + t + i] : 0.0f;
        const index_t at = start + (t + i) * s.point() + b + j * W;
        cvec value = args.y ? cvec{load(args.y + at), load(args.y + at + s.lanes)} : cvec{};
        if (args.r_pri) value = value - cvec{load(args.r_pri + at), load(args.r_pri + at + s.lanes)} * g;
        value = value - acc[i][j];
        store(args.r + at, value.re);
        store(args.r + at + s.lanes, value.im);
        total += value.re * value.re + value.im * value.im;
      }
      store(power, total);
    }
  });
}

void module_a(ModuleAArgs args, index_t task) {
  const Shape& s = args.shape;
  const Part part = part_of(s, task, s.subcarriers);
  for (index_t t = 0; t < s.symbols; ++t) {
    const float g = args.gram[part.index * s.symbols + t];
    const index_t at = (part.index * s.symbols + t) * s.point();
    const float* const prior = args.r_pri + at;
    float* const r = args.r + at;
    for (index_t b = part.beam; b < part.end; b += W) {
      const vec gain = residual_gain(load(args.v + b), g, args.noise, load(args.eta + b));
      store(r + b, load(prior + b) + gain * load(r + b));
      store(r + s.lanes + b, load(prior + s.lanes + b) + gain * load(r + s.lanes + b));
    }
  }
}

// sum_n conj(V[n, p]) r scattered over DFT rows, then the K-point transform: the statistics of W beams, [K, 2, W].
float* spectrum(const TransformView& v, index_t p, index_t b, const float* r, float* scratch) {
  const Shape& s = v.shape;
  float* const x = scratch;
  float* const y = scratch + v.fft.padded * 2 * W;
  for (index_t i = 0; i < s.devices * 2 * W; i += W) store(x + i, vec{});
  for (index_t n = 0; n < s.subcarriers; ++n) {
    const float* e = v.basis + (n * s.coefficients + p) * 2;
    const float w[2] = {v.amplitude * e[0], -v.amplitude * e[1]};
    if (w[0] == 0.0f && w[1] == 0.0f) continue;  // the basis may be of single subcarriers
    const std::int32_t* rows = v.rows + n * s.symbols;
    const float* in = r + n * s.symbols * s.point() + b;
    for (index_t t = 0; t < s.symbols; ++t, in += s.point()) {
      float* o = x + static_cast<index_t>(rows[t]) * 2 * W;
      put(o, get(o, false) + turn({load(in), load(in + s.lanes)}, w));
    }
  }
  return transform(v.fft, x, y);
}

// Where coefficients are single subcarriers, the energies of a group of them are one transform of the products of pairs
// of symbols: sum_n |sum_t r[t] exp(+2 pi i f[t] k / K)|^2 depends on the differences of rows f only.
void lag_energy(const TransformView& v, index_t task, const float* r, float* scratch, float* energy) {
  const Shape& s = v.shape;
  const index_t blocks = s.lanes / W, group = task / blocks, b = task % blocks * W;
  const index_t first = group * v.merge;
  const index_t last = first + v.merge < s.coefficients ? first + v.merge : s.coefficients;
  float* const x = scratch;
  for (index_t i = 0; i < s.devices * 2 * W; i += W) store(x + i, vec{});
  vec total{};
  for (index_t n = first; n < last; ++n) {
    const std::int32_t* rows = v.rows + n * s.symbols;
    const float* in = r + n * s.symbols * s.point() + b;
    for (index_t t = 0; t < s.symbols; ++t) {
      const cvec one{load(in + t * s.point()), load(in + t * s.point() + s.lanes)};
      total += one.re * one.re + one.im * one.im;
      for (index_t u = 0; u < t; ++u) {
        const cvec other{load(in + u * s.point()), load(in + u * s.point() + s.lanes)};
        const index_t lag = rows[t] - rows[u];
        float* o = x + (lag < 0 ? lag + s.devices : lag) * 2 * W;
        put(o, get(o, false) + cvec{one.re * other.re + one.im * other.im, one.im * other.re - one.re * other.im});
      }
    }
  }
  const float* z = transform(v.fft, x, scratch + v.fft.padded * 2 * W);
  float* const out = energy + task * s.devices * W;
  const float power = v.amplitude * v.amplitude;
  for (index_t k = 0; k < s.devices; ++k) store(out + k * W, max(power * (total + 2.0f * load(z + k * 2 * W)), vec{}));
}

void spectral_energy(const TransformView& v, index_t task, const float* r, const Support& support, float* scratch,
                     float* energy) {
  if (v.lags) return lag_energy(v, task, r, scratch, energy);
  const Shape& s = v.shape;
  const index_t blocks = s.lanes / W, group = task / blocks, block = task % blocks, b = block * W;
  float* out = energy + task * s.devices * W;
  const index_t first = group * v.merge;
  const index_t last = first + v.merge < s.coefficients ? first + v.merge : s.coefficients;
  for (index_t p = first; p < last; ++p) {
    float* z = spectrum(v, p, b, r, scratch);
    for (index_t a = 0; a < support.count; ++a) {
      const float* c = support.coefficients + a * s.channel() + p * s.lanes + b;
      float* at = z + static_cast<index_t>(support.device[a]) * 2 * W;
      put(at, get(at, false) + cvec{load(c), load(c + s.coefficients * s.lanes)});
    }
    for (index_t k = 0; k < s.devices; ++k) {
      const cvec x = get(z + k * 2 * W, false);
      const vec e = x.re * x.re + x.im * x.im;
      store(out + k * W, p == first ? e : load(out + k * W) + e);
    }
  }
}

void spectral_statistics(const TransformView& v, index_t task, const float* r, float* scratch, float* z) {
  const Shape& s = v.shape;
  const index_t blocks = s.lanes / W, p = task / blocks, b = task % blocks * W;
  const float* x = spectrum(v, p, b, r, scratch);
  for (index_t k = 0; k < s.devices; ++k) {
    float* out = z + k * s.channel() + p * s.lanes + b;
    store(out, load(x + k * 2 * W));
    store(out + s.coefficients * s.lanes, load(x + k * 2 * W + W));
  }
}

void spread_energy(const TransformView& v, index_t k, const float* z, float* energy) {
  const Shape& s = v.shape;
  const index_t blocks = s.lanes / W, half = s.coefficients * s.lanes;
  for (index_t block = 0; block < blocks; ++block) {
    for (index_t p = 0; p < s.coefficients; ++p) {
      const float* x = z + p * s.lanes + block * W;
      const vec re = load(x), im = load(x + half), e = re * re + im * im;
      float* out = energy + ((p / v.merge * blocks + block) * s.devices + k) * W;
      store(out, p % v.merge == 0 ? e : load(out) + e);
    }
  }
}

void channel(const TransformView& v, float* h, float scale, const float* dft, float* scratch, float* out) {
  const Shape& s = v.shape;
  for (index_t i = 0; i < s.lanes / s.together(); ++i) synthesise(v, {1, scratch, h}, i);
  tiles(s.subcarriers, 0, s.lanes, [&]<int I, int B>(Number<I>, Number<B>, index_t n, index_t m) {
    cvec acc[I][B];  // conjugate channels
    product<true, false>({scratch + n * s.point(), s.point(), 1, s.lanes}, s.antennas, dft + m, s.point(), s.lanes,
                         acc);
    for (int i = 0; i < I; ++i)
      for (index_t j = 0; j < B * W && m + j < s.antennas; ++j) {
        out[((n + i) * s.antennas + m + j) * 2] = scale * acc[i][j / W].re[j % W];
        out[((n + i) * s.antennas + m + j) * 2 + 1] = -scale * acc[i][j / W].im[j % W];
      }
  });
}

}  // namespace

void fill_pilot_transform(KernelTable& table) {
  table.beamspace = beamspace;
  table.residual = residual;
  table.module_a = module_a;
  table.spectral_energy = spectral_energy;
  table.spectral_statistics = spectral_statistics;
  table.correlate = correlate;
  table.analyse = analyse;
  table.synthesise = synthesise;
  table.spread_energy = spread_energy;
  table.channel = channel;
}

}  // namespace jadce::JADCE_ISA

#include "receiver/eigen.hpp"

#include <cmath>
#include <cstddef>

namespace jadce {

namespace {

constexpr int kMostSweeps = 40;        // quadratic convergence takes some six
constexpr double kNegligible = 1e-16;  // magnitude of an entry, over the norm of the matrix

std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

// Rows p and q become c p - s e q and s p + c e q, with e of magnitude one.
struct Rotation {
  double c, s, real, imag;

  void apply(SplitMatrix& m, index_t p, index_t q) const {
    double *pr = m.real_row(p), *pi = m.imag_row(p), *qr = m.real_row(q), *qi = m.imag_row(q);
    for (index_t k = 0; k < m.columns; ++k) {
      const double r = real * qr[k] - imag * qi[k], i = real * qi[k] + imag * qr[k], x = pr[k], y = pi[k];
      pr[k] = c * x - s * r;
      pi[k] = c * y - s * i;
      qr[k] = s * x + c * r;
      qi[k] = s * y + c * i;
    }
  }
};

}  // namespace

SplitMatrix::SplitMatrix(index_t r, index_t c) : rows(r), columns(c), real(at(r * c)), imag(at(r * c)) {}

SplitMatrix diagonalise(SplitMatrix& matrix) {
  const index_t n = matrix.rows;
  SplitMatrix turned(n, n);
  double norm = 0;
  for (index_t i = 0; i < n * n; ++i)
    norm += matrix.real[at(i)] * matrix.real[at(i)] + matrix.imag[at(i)] * matrix.imag[at(i)];
  for (index_t i = 0; i < n; ++i) turned.real_row(i)[i] = 1;
  bool rotated = true;
  for (int sweep = 0; rotated && sweep < kMostSweeps; ++sweep) {
    rotated = false;
    for (index_t p = 0; p < n; ++p)
      for (index_t q = p + 1; q < n; ++q) {
        double *const pr = matrix.real_row(p), *const pi = matrix.imag_row(p);
        double *const qr = matrix.real_row(q), *const qi = matrix.imag_row(q);
        const double size = std::hypot(pr[q], pi[q]);
        if (!(size > kNegligible * std::sqrt(norm))) continue;
        rotated = true;
        const double a = pr[p], b = qr[q], tau = (b - a) / (2 * size);
        const double t = (tau < 0 ? -1 : 1) / (std::abs(tau) + std::sqrt(1 + tau * tau)), c = 1 / std::sqrt(1 + t * t);
        const Rotation rotation{c, t * c, pr[q] / size, pi[q] / size};
        rotation.apply(turned, p, q);
        rotation.apply(matrix, p, q);
        pr[p] = a - t * size;
        qr[q] = b + t * size;
        pi[p] = qi[q] = pr[q] = pi[q] = qr[p] = qi[p] = 0;
        for (index_t k = 0; k < n; ++k) {  // columns are the conjugates of rows
          if (k == p || k == q) continue;
          matrix.real_row(k)[p] = pr[k];
          matrix.imag_row(k)[p] = -pi[k];
          matrix.real_row(k)[q] = qr[k];
          matrix.imag_row(k)[q] = -qi[k];
        }
      }
  }
  return turned;
}

}  // namespace jadce

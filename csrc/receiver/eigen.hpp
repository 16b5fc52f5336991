#pragma once

#include <vector>

#include "core/shapes.hpp"

namespace jadce {

// A complex matrix in double precision, real and imaginary parts apart.
struct SplitMatrix {
  index_t rows, columns;
  std::vector<double> real, imag;  // [rows, columns]

  SplitMatrix(index_t r, index_t c);
  double* real_row(index_t i) { return real.data() + i * columns; }
  double* imag_row(index_t i) { return imag.data() + i * columns; }
};

// Diagonalises the Hermitian matrix U diag(values) U^H in place by Jacobi's method, which leaves the values, in no
// order, on the diagonal, and returns U^H. Pilots need no more, and it needs no library.
SplitMatrix diagonalise(SplitMatrix& matrix);

}  // namespace jadce

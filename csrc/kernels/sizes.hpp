#pragma once

namespace jadce::cuda {

// Sizes of a detection on a GPU.
struct Sizes {
  int devices;       // K
  int subcarriers;   // N
  int symbols;       // T
  int antennas;      // M
  int coefficients;  // P
  int batch;         // B, received blocks
};

}  // namespace jadce::cuda

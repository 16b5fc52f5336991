// jadce.hpp in C++17: moves, errors as exceptions, and several receivers. wrapper PRIOR
#include <complex>
#include <cstdint>
#include <cstdio>
#include <utility>
#include <vector>

#include "jadce/jadce.hpp"

int main(int, char** words) {
  std::vector<std::int32_t> rows;
  for (std::int32_t t = 0; t < 8; ++t)
    for (std::int32_t n = 0; n < 48; ++n) rows.push_back((n * n * n + (1 + 7 * n * n % 60) * t) % 61);
  jadce_config config;
  jadce_config_init(&config);
  try {
    jadce::Receiver nothing(config);
    return 1;
  } catch (const jadce::Error& error) {
    std::printf("%d %s\n", error.status, error.what());
  }
  config.devices = 61;
  config.subcarriers = 48;
  config.symbols = 8;
  config.antennas = 4;
  config.pilot_rows = rows.data();
  config.prior = words[1];
  jadce::Receiver first(config), second = std::move(first);
  std::vector<std::complex<float>> y(8 * 48 * 4);
  for (std::size_t i = 0; i < y.size(); ++i) {  // device 17 with a flat channel
    const double turns = -static_cast<double>(rows[i / 4] * 17) / 61;
    y[i] = std::complex<float>(std::polar(1.0, 2 * 3.141592653589793 * turns));
  }
  const jadce::Detection& out = second.detect(y.data(), 1e-3);
  std::printf("%d %d\n", out.numbers.found, out.numbers.found > 0 ? out.active[0] : -1);
  return 0;
}

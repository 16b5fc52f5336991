// Prints who is active in a capture: detect CAPTURE.npz PRIOR [POWER]
#include <cstdio>
#include <exception>
#include <string>

#include "capture.hpp"

int main(int count, char** words) {
  if (count < 3 || count > 4) {
    std::fprintf(stderr, "usage: detect CAPTURE.npz PRIOR.safetensors|gaussian [POWER]\n");
    return 2;
  }
  try {
    Capture capture(words[1]);
    capture.config.prior = words[2];
    if (count == 4) capture.config.power = std::stod(words[3]);
    jadce::Receiver receiver(capture.config);
    const jadce::Detection& out = receiver.detect(capture.y.data(), capture.noise_var);
    const jadce_result& numbers = out.numbers;
    const jadce_sizes& sizes = receiver.sizes();
    std::printf("# %d of %d devices active, %d iterations, residual ratio %.9g%s\n", numbers.found, sizes.devices,
                numbers.iterations, numbers.residual_ratio, numbers.trusted ? "" : ", not to be trusted");
    std::printf("# device, probability, channel power, its variance\n");
    const int entries = sizes.subcarriers * sizes.antennas;
    for (int i = 0; i < numbers.found; ++i) {
      double power = 0;
      for (int j = 0; j < entries; ++j) power += std::norm(out.channels[static_cast<std::size_t>(i * entries + j)]);
      const int device = out.active[static_cast<std::size_t>(i)];
      std::printf("%d %.9g %.9g %.9g\n", device, static_cast<double>(out.activity[static_cast<std::size_t>(device)]),
                  power / entries, static_cast<double>(out.channel_var[static_cast<std::size_t>(i)]));
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "detect: %s\n", error.what());
    return 1;
  }
  return 0;
}

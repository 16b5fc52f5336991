// A capture file (docs/captures.md) as a receiver of libjadce takes it.
#pragma once

#include <complex>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "jadce/jadce.hpp"
#include "npz.hpp"

struct Capture {
  std::vector<std::complex<float>> y;  // [T, N, M]
  double noise_var = 0;
  jadce_config config;  // shows pilots of this object

  explicit Capture(const std::string& path) {
    const auto arrays = npz::read(path);
    const auto need = [&](const char* name) -> const npz::Array& {
      if (arrays.count(name) == 0) throw std::runtime_error(path + ": expected the key " + name);
      return arrays.at(name);
    };
    const auto check = [&](const char* name, bool fits, const std::string& expected) {
      if (!fits)
        throw std::runtime_error(path + ": " + name + ": expected " + expected + ", found " +
                                 npz::text(need(name).shape));
    };
    const auto scalar = [&](const char* name) {
      const std::vector<double> found = need(name).as<double>();
      check(name, found.size() == 1, "one number");
      return found[0];
    };
    const npz::Shape& shape = need("y").shape;
    check("y", shape.size() == 3, "one block (T, N, M)");
    check("pilot_phases", arrays.count("pilot_phases") == 0, "none, but scrambled pilots as pilots (T, N, K)");
    const npz::Shape grid(shape.begin(), shape.begin() + 2);
    y = need("y").as<std::complex<float>>();
    noise_var = scalar("noise_var");
    jadce_config_init(&config);
    config.symbols = static_cast<std::int32_t>(shape[0]);
    config.subcarriers = static_cast<std::int32_t>(shape[1]);
    config.antennas = static_cast<std::int32_t>(shape[2]);
    if (arrays.count("activity_rate") != 0) config.activity_rate = scalar("activity_rate");
    if (arrays.count("pilots") != 0) {
      npz::Shape sides = need("pilots").shape;
      const std::int64_t devices = sides.empty() ? 0 : sides.back();
      if (!sides.empty()) sides.pop_back();
      check("pilots", sides == grid, "(T, N, K) with " + npz::text(grid) + " of y");
      pilots_ = need("pilots").as<std::complex<float>>();
      config.devices = static_cast<std::int32_t>(devices);
      config.pilots = reinterpret_cast<const float*>(pilots_.data());
    } else {
      check("pilot_rows", need("pilot_rows").shape == grid, "(T, N) of y, " + npz::text(grid));
      scalar("devices");
      rows_ = need("pilot_rows").as<std::int32_t>();
      config.devices = need("devices").as<std::int32_t>()[0];
      config.pilot_rows = rows_.data();
      if (arrays.count("pilot_power") != 0) config.pilot_power = scalar("pilot_power");
    }
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

 private:
  std::vector<std::int32_t> rows_;
  std::vector<std::complex<float>> pilots_;
};

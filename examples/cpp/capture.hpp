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
    auto arrays = npz::read(path);
    const auto need = [&](const char* name) -> const npz::Array& {
      if (arrays.count(name) == 0) throw std::runtime_error(path + ": expected the key " + name);
      return arrays.at(name);
    };
    const auto real = [&](const char* name, double otherwise) {
      return arrays.count(name) != 0 ? need(name).as<double>().at(0) : otherwise;
    };
    y = need("y").as<std::complex<float>>();
    noise_var = need("noise_var").as<double>().at(0);
    jadce_config_init(&config);
    const std::vector<std::int64_t>& shape = need("y").shape;
    config.symbols = static_cast<std::int32_t>(shape.at(0));
    config.subcarriers = static_cast<std::int32_t>(shape.at(1));
    config.antennas = static_cast<std::int32_t>(shape.at(2));
    config.activity_rate = real("activity_rate", config.activity_rate);
    if (arrays.count("pilots") != 0) {
      pilots_ = need("pilots").as<std::complex<float>>();
      config.devices = static_cast<std::int32_t>(need("pilots").shape.at(2));
      config.pilots = reinterpret_cast<const float*>(pilots_.data());
    } else {
      rows_ = need("pilot_rows").as<std::int32_t>();
      config.devices = static_cast<std::int32_t>(real("devices", 0));
      config.pilot_rows = rows_.data();
      config.pilot_power = real("pilot_power", 1);
    }
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

 private:
  std::vector<std::int32_t> rows_;
  std::vector<std::complex<float>> pilots_;
};

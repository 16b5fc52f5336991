// Structs and launchers of CUDA kernels as Python sees them: by the names of their fields, never by position. Pointers
// are addresses, integers. Serves two modules: _core, and the emulator's _emulated, where addresses are the host's.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <type_traits>

namespace jadce::bindings {

template <class T>
using AsPython = std::conditional_t<std::is_pointer_v<T>, std::uintptr_t, T>;

template <class T>
T from_python(const AsPython<T>& value) {
  if constexpr (std::is_pointer_v<T>) {
    return reinterpret_cast<T>(value);
  } else {
    return value;
  }
}

// A member of a struct that Python must name.
template <class Args, class T>
struct Field {
  const char* name;
  T Args::* member;

  auto argument() const { return pybind11::arg(name); }
};

// A pointer that is null where Python does not name it.
template <class Args, class T>
struct Nullable : Field<Args, T> {
  static_assert(std::is_pointer_v<T>);

  auto argument() const { return pybind11::arg(this->name) = std::uintptr_t{0}; }
};

// A number that keeps the struct's own value where Python does not name it.
template <class Args, class T>
struct Defaulted : Field<Args, T> {
  auto argument() const { return pybind11::arg(this->name) = Args{}.*(this->member); }
};

template <class Args, class T>
Field<Args, T> field(const char* name, T Args::* member) {
  return {name, member};
}

template <class Args, class T>
Nullable<Args, T> nullable(const char* name, T Args::* member) {
  return {{name, member}};
}

template <class Args, class T>
Defaulted<Args, T> defaulted(const char* name, T Args::* member) {
  return {{name, member}};
}

#define JADCE_FIELD(Args, name) ::jadce::bindings::field(#name, &Args::name)
#define JADCE_NULLABLE(Args, name) ::jadce::bindings::nullable(#name, &Args::name)
#define JADCE_DEFAULTED(Args, name) ::jadce::bindings::defaulted(#name, &Args::name)

// launcher(args, stream) as name(*, field=..., ..., stream).
template <class Args, template <class, class> class... F, class... T>
void def_launcher(pybind11::module_& m, const char* name, void (*launcher)(const Args&, void*), F<Args, T>... fields) {
  m.def(
      name,
      [launcher, fields...](const AsPython<T>&... values, std::uintptr_t stream) {
        Args args{};
        ((args.*(fields.member) = from_python<T>(values)), ...);
        launcher(args, reinterpret_cast<void*>(stream));
      },
      pybind11::kw_only(), fields.argument()..., pybind11::arg("stream"));
}

// A struct that launchers take as one field, made by name.
template <class Args, template <class, class> class... F, class... T>
void def_struct(pybind11::module_& m, const char* name, const char* doc, F<Args, T>... fields) {
  pybind11::class_<Args> type(m, name, doc, pybind11::module_local());
  type.def(pybind11::init([fields...](const AsPython<T>&... values) {
             Args args{};
             ((args.*(fields.member) = from_python<T>(values)), ...);
             return args;
           }),
           pybind11::kw_only(), fields.argument()...);
  const auto show = [&](const auto& f) {
    if constexpr (!std::is_pointer_v<std::remove_reference_t<decltype(Args{}.*(f.member))>>)
      type.def_readonly(f.name, f.member);
  };
  (show(fields), ...);
}

// NumPy's type of a struct in device memory, with these members.
template <class Record, template <class, class> class... F, class... T>
pybind11::dtype record_dtype(F<Record, T>... fields) {
  pybind11::list names, formats, offsets;
  const Record record{};
  const auto add = [&](const auto& f) {
    const auto& member = record.*(f.member);
    names.append(f.name);
    formats.append(pybind11::dtype::of<std::decay_t<decltype(member)>>());
    offsets.append(reinterpret_cast<std::uintptr_t>(&member) - reinterpret_cast<std::uintptr_t>(&record));
  };
  (add(fields), ...);
  return {names, formats, offsets, sizeof(Record)};
}

}  // namespace jadce::bindings

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

// A member of a struct. Python must name it, or the struct's own value stays: null, or a number.
template <class Args, class T, bool kOptional>
struct Field {
  const char* name;
  T Args::* member;

  auto argument() const {
    if constexpr (!kOptional) {
      return pybind11::arg(name);
    } else if constexpr (std::is_pointer_v<T>) {
      return pybind11::arg(name) = std::uintptr_t{0};
    } else {
      return pybind11::arg(name) = Args{}.*member;
    }
  }
};

template <bool kOptional, class Args, class T>
Field<Args, T, kOptional> field(const char* name, T Args::* member) {
  return {name, member};
}

// JADCE_EACH(macro, Args, a, b, ...) is macro(Args, a), macro(Args, b), ...: every expansion takes one name more.
#define JADCE_EACH(...) JADCE_EXPAND(JADCE_NEXT(__VA_ARGS__))
#define JADCE_NEXT(macro, Args, name, ...) \
  macro(Args, name) __VA_OPT__(, JADCE_AGAIN JADCE_NO(macro, Args, __VA_ARGS__))
#define JADCE_AGAIN() JADCE_NEXT
#define JADCE_NO ()
#define JADCE_EXPAND(...) JADCE_EXPAND_4(JADCE_EXPAND_4(JADCE_EXPAND_4(JADCE_EXPAND_4(__VA_ARGS__))))
#define JADCE_EXPAND_4(...) JADCE_EXPAND_1(JADCE_EXPAND_1(JADCE_EXPAND_1(JADCE_EXPAND_1(__VA_ARGS__))))
#define JADCE_EXPAND_1(...) JADCE_EXPAND_0(JADCE_EXPAND_0(JADCE_EXPAND_0(__VA_ARGS__)))
#define JADCE_EXPAND_0(...) __VA_ARGS__

#define JADCE_FIELD(Args, name) ::jadce::bindings::field<false>(#name, &Args::name)
#define JADCE_FIELD_OPTIONAL(Args, name) ::jadce::bindings::field<true>(#name, &Args::name)

// Members of Args by their names: those that Python must name, and those that it may leave out.
#define JADCE_FIELDS(...) JADCE_EACH(JADCE_FIELD, __VA_ARGS__)
#define JADCE_OPTIONAL(...) JADCE_EACH(JADCE_FIELD_OPTIONAL, __VA_ARGS__)

template <class Args, class T, bool kOptional>
void set(Args& args, const Field<Args, T, kOptional>& field, const AsPython<T>& value) {
  if constexpr (std::is_pointer_v<T>) {
    args.*(field.member) = reinterpret_cast<T>(value);
  } else {
    args.*(field.member) = value;
  }
}

// launcher(args, stream) as name(*, field=..., ..., stream), whose fields the module's `fields` lists.
template <class Args, class... T, bool... kOptional>
void def_launcher(pybind11::module_& m, const char* name, void (*launcher)(const Args&, void*),
                  Field<Args, T, kOptional>... fields) {
  m.def(
      name,
      [launcher, fields...](const AsPython<T>&... values, std::uintptr_t stream) {
        Args args{};
        (set(args, fields, values), ...);
        launcher(args, reinterpret_cast<void*>(stream));
      },
      pybind11::kw_only(), fields.argument()..., pybind11::arg("stream"));
  if (!pybind11::hasattr(m, "fields")) m.attr("fields") = pybind11::dict();
  m.attr("fields")[name] = pybind11::make_tuple(fields.name...);
}

// A struct that launchers take as one field, made by name.
template <class Args, class... T, bool... kOptional>
void def_struct(pybind11::module_& m, const char* name, const char* doc, Field<Args, T, kOptional>... fields) {
  pybind11::class_<Args> type(m, name, doc, pybind11::module_local());
  type.def(pybind11::init([fields...](const AsPython<T>&... values) {
             Args args{};
             (set(args, fields, values), ...);
             return args;
           }),
           pybind11::kw_only(), fields.argument()...);
  const auto show = [&]<class M, bool kOwn>(const Field<Args, M, kOwn>& f) {
    if constexpr (!std::is_pointer_v<M>) type.def_readonly(f.name, f.member);
  };
  (show(fields), ...);
}

// NumPy's type of a struct in device memory, with these members.
template <class Record, class... T>
pybind11::dtype record_dtype(Field<Record, T, false>... fields) {
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

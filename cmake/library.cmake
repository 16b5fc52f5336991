# libjadce, the C library: shared and static, headers, CMake package and pkg-config file. In a wheel all of them lie
# inside the Python package, without a versioned name: wheels have no links.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)
if(SKBUILD)
  set(CMAKE_INSTALL_INCLUDEDIR jadce_fast/include)
  set(CMAKE_INSTALL_LIBDIR jadce_fast/lib)
endif()

add_library(jadce_capi OBJECT csrc/capi/check.cpp csrc/capi/jadce.cpp csrc/capi/json.cpp csrc/capi/pilots.cpp csrc/capi/plan.cpp
  csrc/capi/prior.cpp csrc/capi/processors.cpp)
target_link_libraries(jadce_capi PRIVATE jadce_flags)
target_include_directories(jadce_capi PRIVATE include)
target_compile_definitions(jadce_capi PRIVATE JADCE_BUILDS JADCE_VERSION="${PROJECT_VERSION}")

# Detections on a GPU are the shared library's, in builds with nvcc; the static one is for processors.
add_library(jadce_no_gpu OBJECT csrc/capi/no_gpu.cpp)
target_link_libraries(jadce_no_gpu PRIVATE jadce_flags)
set(gpu $<TARGET_OBJECTS:jadce_no_gpu>)
if(TARGET kernels_cuda)
  add_library(jadce_gpu OBJECT csrc/capi/gpu.cpp)
  target_link_libraries(jadce_gpu PRIVATE jadce_flags CUDA::cudart_static)
  set(gpu $<TARGET_OBJECTS:jadce_gpu> $<TARGET_OBJECTS:kernels_cuda>)
endif()
add_library(jadce SHARED $<TARGET_OBJECTS:jadce_capi> ${gpu} ${JADCE_CORE})
add_library(jadce_static STATIC $<TARGET_OBJECTS:jadce_capi> $<TARGET_OBJECTS:jadce_no_gpu> ${JADCE_CORE})
set_target_properties(jadce_static PROPERTIES OUTPUT_NAME jadce EXPORT_NAME static)
target_link_options(jadce PRIVATE -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/jadce.map)
set_target_properties(jadce PROPERTIES LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/jadce.map)
if(NOT SKBUILD)
  set_target_properties(jadce PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
endif()
foreach(target jadce jadce_static)
  target_include_directories(${target} INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  set_target_properties(${target} PROPERTIES LINKER_LANGUAGE CXX)
endforeach()
target_link_libraries(jadce PRIVATE Threads::Threads)
if(TARGET kernels_cuda)
  target_link_libraries(jadce PRIVATE CUDA::cudart_static)
endif()
target_link_libraries(jadce_static INTERFACE Threads::Threads)

install(TARGETS jadce jadce_static EXPORT jadce COMPONENT library
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} NAMELINK_COMPONENT library ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/jadce DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT library)
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/jadce)
if(NOT SKBUILD) # the Python package has them elsewhere
  file(GLOB priors CONFIGURE_DEPENDS python/jadce_fast/priors/weights/cdl*.safetensors)
  install(FILES ${priors} DESTINATION ${CMAKE_INSTALL_DATADIR}/jadce COMPONENT library)
endif()
install(EXPORT jadce NAMESPACE jadce:: FILE jadceTargets.cmake DESTINATION ${package} COMPONENT library)
configure_package_config_file(cmake/jadceConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/jadceConfig.cmake
  INSTALL_DESTINATION ${package})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/jadceConfigVersion.cmake COMPATIBILITY SameMinorVersion)
file(RELATIVE_PATH JADCE_INCLUDE_FROM_LIB /${CMAKE_INSTALL_LIBDIR} /${CMAKE_INSTALL_INCLUDEDIR})
configure_file(cmake/jadce.pc.in ${CMAKE_CURRENT_BINARY_DIR}/jadce.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/jadceConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/jadceConfigVersion.cmake
  DESTINATION ${package} COMPONENT library)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/jadce.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT library)

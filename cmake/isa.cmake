# The instruction sets that kernels are compiled for, best first: the one place that says which
# CPU features each uses. From it come both the compiler's flags and isa_list.h, whose run-time
# test asks for exactly the same features, so a table can never run where a flag is missing.
# "generic" needs only what the compiler's baseline for the architecture has.
# SIMD is the width of the vectors whose intrinsics an instruction set is compiled with, 0 for none.

set(FASTMLP_ISAS generic)
set(FASTMLP_FEATURES_generic)
set(FASTMLP_SIMD_generic 0)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(FASTMLP_ISAS avx512 avx2 generic)
  set(FASTMLP_FEATURES_avx2 avx2 fma)
  set(FASTMLP_SIMD_avx2 256)
  set(FASTMLP_FEATURES_avx512 avx512f avx512dq avx512bw avx512vl avx2 fma bmi2)
  set(FASTMLP_SIMD_avx512 512)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  # Part of the architecture's baseline.
  set(FASTMLP_ISAS neon generic)
  set(FASTMLP_FEATURES_neon)
  set(FASTMLP_SIMD_neon 128)
endif()

function(fastmlp_write_isa_list path)
  set(text "/* Written by cmake/isa.cmake. X(name, whether this machine can run it) */\n")
  string(APPEND text "#define FM_ISA_LIST(X)")
  foreach(isa IN LISTS FASTMLP_ISAS)
    set(condition "1")
    foreach(feature IN LISTS FASTMLP_FEATURES_${isa})
      string(APPEND condition " && __builtin_cpu_supports(\"${feature}\")")
    endforeach()
    string(APPEND text " X(${isa}, ${condition})")
  endforeach()
  file(CONFIGURE OUTPUT "${path}" CONTENT "${text}\n" @ONLY)
endfunction()

# Add the kernel sources, compiled once per instruction set and dtype, to the target as objects.
function(fastmlp_add_kernels target)
  foreach(isa IN LISTS FASTMLP_ISAS)
    foreach(bits IN ITEMS 32 64)
      set(objects ${target}_kernels_${isa}_${bits})
      add_library(${objects} OBJECT ${ARGN})
      target_include_directories(${objects} PRIVATE csrc/include csrc/kernels)
      target_compile_definitions(${objects} PRIVATE FM_ISA=${isa} FM_REAL_BITS=${bits}
                                                    FM_SIMD=${FASTMLP_SIMD_${isa}})
      list(TRANSFORM FASTMLP_FEATURES_${isa} PREPEND "-m" OUTPUT_VARIABLE flags)
      target_compile_options(${objects} PRIVATE ${flags})
      target_link_libraries(${objects} PRIVATE fastmlp_options)
      target_sources(${target} PRIVATE $<TARGET_OBJECTS:${objects}>)
    endforeach()
  endforeach()
endfunction()

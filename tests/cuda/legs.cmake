# Tests of the project's CUDA, linked with the PTX machine in the place of the CUDA runtime (tests/ptx).

# The op tests. On each architecture; on the first also in two random orders, with a watch for reads of memory that nothing
# wrote, and with one for races; and where tensor cores add, in each order in which they may, of which one is the CPU's. No
# launch may take more than PTX_LIMIT instructions of warps.
set(small "SCALELAB_REQUIRE_CUDA=1;SCALELAB_SMALL=1;PTX_MMA=chain;PTX_LIMIT=1000000000")
foreach(test mma max_margin xor_sgd knn neighbour_work kmeans grid mlp mlp_grid twins mlp_twins)
  ptx_program(${test} $<TARGET_OBJECTS:${test}_test>)
  target_link_libraries(ptx_${test} PRIVATE scalelab GTest::gtest_main)
  set(filter --gtest_brief=1)
  if(NOT test MATCHES "twins$|^mma$")  # a test of one op: its leg on CUDA
    list(APPEND filter --gtest_filter=*/cuda)
  endif()
  set(legs sm_90:PTX_ARCH=90 sm_80:PTX_ARCH=80 sm_75:PTX_ARCH=75)
  if(NOT test STREQUAL "twins")  # the ops of three other tests, for which once on each is enough
    list(APPEND legs random_1:PTX_SEED=1 random_2:PTX_SEED=2 initcheck:PTX_INITCHECK=1 race:PTX_RACE=1)
  endif()
  foreach(leg ${legs})
    string(REPLACE ":" ";" leg ${leg})
    list(POP_FRONT leg name)
    ptx_test(${name}.${test} "${small};${leg}" ptx_${test} ${filter})
  endforeach()
endforeach()
foreach(order exact truncate)
  foreach(test mma mlp)
    ptx_test(${order}.${test} "${small};PTX_MMA=${order}" ptx_${test} --gtest_brief=1 --gtest_filter=*)
  endforeach()
endforeach()
# A device that refuses clusters of any size, as a part of one may: teams of blocks meet in cooperative launches.
ptx_test(no_clusters.mlp_twins "${small};PTX_CLUSTERS=0" ptx_mlp_twins --gtest_brief=1 --gtest_filter=*Teams*)

# A device so small that a block scores one network after another.
ptx_test(small.mlp_twins "${small};PTX_RACE=1;PTX_MULTIPROCESSORS=1" ptx_mlp_twins --gtest_brief=1
         --gtest_filter=*Scores*)

# Training in launches so short that they end within epochs: the bits of the whole; and a device that ends kernels of more
# than 16 steps ends none.
ptx_test(cut.mlp_twins "${small};SCALELAB_LAUNCH_SECONDS=1e-4" ptx_mlp_twins --gtest_brief=1)
ptx_test(limit.mlp_twins "SCALELAB_REQUIRE_CUDA=1;SCALELAB_SMALL=1;PTX_MMA=chain;SCALELAB_LAUNCH_SECONDS=1e-4;PTX_LIMIT=100000"
         ptx_mlp_twins --gtest_brief=1 --gtest_filter=*ALongRun*)

# The program, for bench/counts.py, and commands on several devices at once.
ptx_program(scalelab $<TARGET_OBJECTS:scalelab_program>)
target_link_libraries(ptx_scalelab PRIVATE scalelab_host)
ptx_test(devices "PTX_DEVICES=3" sh ${CMAKE_CURRENT_LIST_DIR}/devices.sh $<TARGET_FILE:ptx_scalelab>)

# A barrier between blocks whose count wraps: the kernels' own, of which a wrong one only races.
ptx_program(team_barrier ${CMAKE_CURRENT_LIST_DIR}/team_barrier.cu)
target_compile_options(ptx_team_barrier PRIVATE ${cuda_options})
target_include_directories(ptx_team_barrier PRIVATE ${CMAKE_SOURCE_DIR})
target_link_libraries(ptx_team_barrier PRIVATE scalelab)
ptx_test(team_barrier "PTX_RACE=1" ptx_team_barrier)

# The backend on devices that few machines have.
ptx_program(backend ${CMAKE_CURRENT_LIST_DIR}/backend_test.cpp)
target_link_libraries(ptx_backend PRIVATE scalelab scalelab_flags GTest::gtest_main)
target_include_directories(ptx_backend SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
foreach(name AThreadWithAnotherCurrentDeviceMayLaunch MemoryThatThePoolKeepsIsFree TheDefaultPoolIsOthers
        AStreamAndMemoryOfTheCallers AMemoryPoolOfTheCallers TheLastContextGivesAllMemoryBack
        DevicesWithoutPoolsAreNoBackend)
  set(setting PTX_DEVICES=2)
  if(name MATCHES "WithoutPools")
    set(setting PTX_POOLS=0)
  endif()
  ptx_test(backend.${name} "${setting}" ptx_backend --gtest_filter=*.${name})
endforeach()

# The Python module, where it is built, for what it does with arrays of a GPU.
if(SCALELAB_PYTHON)
  get_directory_property(python DIRECTORY ${CMAKE_SOURCE_DIR}/host/python DEFINITION Python_EXECUTABLE)
  set(package ${CMAKE_CURRENT_BINARY_DIR}/python/scalelab)
  add_library(ptx_python MODULE $<TARGET_OBJECTS:ptx_machine> $<TARGET_OBJECTS:scalelab_python>)
  set_target_properties(ptx_python PROPERTIES PREFIX "" OUTPUT_NAME _core LIBRARY_OUTPUT_DIRECTORY ${package} LINKER_LANGUAGE CXX
                        CUDA_RUNTIME_LIBRARY None)
  target_link_libraries(ptx_python PRIVATE nanobind-static scalelab ${ZSTD_LIBRARY} fmt::fmt)
  add_custom_command(TARGET ptx_python POST_BUILD VERBATIM
                     COMMAND ${CMAKE_COMMAND} -E copy_directory ${CMAKE_SOURCE_DIR}/host/python/scalelab ${package})
  add_dependencies(ptx_legs ptx_python)
  ptx_test(python "PTX_DEVICES=2;PYTHONPATH=${CMAKE_CURRENT_BINARY_DIR}/python;PYTHONDONTWRITEBYTECODE=1" ${python} -m pytest -q
           -p no:cacheprovider ${CMAKE_SOURCE_DIR}/tests/python/gpu_test.py)
endif()

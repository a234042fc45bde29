# cmake -DBUILT=BUILD-FOLDER -DSOURCE=SOURCE-FOLDER -DCOMPILER=C++ -P run.cmake
# Installs the library from BUILD-FOLDER, builds the program beside this file against it and holds its answer; then
# configures it with the library inside, in a CMake that can find none of the packages of the program and the tests.
# README.md shows this program.
set(folder ${BUILT}/generated/consumer)
file(REMOVE_RECURSE ${folder})
set(common -S ${CMAKE_CURRENT_LIST_DIR} -DCMAKE_CXX_COMPILER=${COMPILER})
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "${command}: ${status}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

run(${CMAKE_COMMAND} --install ${BUILT} --component library --prefix ${folder}/prefix)
run(${CMAKE_COMMAND} ${common} -B ${folder}/build -DCMAKE_PREFIX_PATH=${folder}/prefix)
run(${CMAKE_COMMAND} --build ${folder}/build)
run(${folder}/build/consumer)
if(NOT output MATCHES "^0 1 1 0 2 0 3 4 4 3 by scalelab [0-9.]+\n$")
  message(FATAL_ERROR "the program that was built against the library says ${output}")
endif()

set(without "")
foreach(package nlohmann_json CLI11 fmt PNG ZLIB GTest)
  list(APPEND without -DCMAKE_DISABLE_FIND_PACKAGE_${package}=ON)
endforeach()
run(${CMAKE_COMMAND} ${common} -B ${folder}/inside -DSCALELAB_SOURCE=${SOURCE} -DSCALELAB_CUDA=OFF ${without})

file(READ ${CMAKE_CURRENT_LIST_DIR}/main.cpp program)
string(REGEX REPLACE "^//[^\n]*\n" "" program "${program}")
file(READ ${SOURCE}/README.md readme)
string(FIND "${readme}" "```cpp\n${program}```" at)
if(at EQUAL -1)
  message(FATAL_ERROR "README.md does not show tests/consumer/main.cpp as it is")
endif()

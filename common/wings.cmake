# add_wing(NAME [FOLDER] [USES WING...] [LIBRARIES TARGET...] [WITHOUT FILE...])
#
# A wing is one folder, one static library, and one thing it may not do: know what stands above or beside it. Two checks
# hold that, since an archive by itself refuses nothing:
#   - an include upwards: a wing is compiled with a folder of links to itself and to what it uses, and with no other;
#   - a call upwards: it is linked once, whole, into an empty program with only what it may use (NAME_alone).
# Both are part of every build with tests; test/wings shows that they hold. A wing comes after those that it uses.
# FOLDER is NAME below the current one, unless it is given; LIBRARIES are for this wing and those who use it; WITHOUT
# are files that a static build leaves out, without their ending.
function(add_wing name)
  cmake_parse_arguments(PARSE_ARGV 1 wing "" "FOLDER" "USES;LIBRARIES;WITHOUT")
  if(NOT wing_FOLDER)
    set(wing_FOLDER ${CMAKE_CURRENT_SOURCE_DIR}/${name})
  endif()
  file(GLOB sources CONFIGURE_DEPENDS ${wing_FOLDER}/*.c)
  list(FILTER sources EXCLUDE REGEX "/main\\.c$")
  if(STATIC)
    foreach(file ${wing_WITHOUT})
      list(FILTER sources EXCLUDE REGEX "/${file}\\.c$")
    endforeach()
  endif()
  # The one link of this folder is named as the includes name it: common/base/err.h.
  file(RELATIVE_PATH path ${CMAKE_SOURCE_DIR} ${wing_FOLDER})
  set(see ${CMAKE_BINARY_DIR}/see/${name})
  get_filename_component(parent ${see}/${path} DIRECTORY)
  file(MAKE_DIRECTORY ${parent})
  file(CREATE_LINK ${wing_FOLDER} ${see}/${path} SYMBOLIC)
  foreach(use ${wing_USES})
    if(NOT TARGET wing_${use})
      message(FATAL_ERROR "add_wing: ${name} uses ${use}, which is not below it")
    endif()
  endforeach()
  list(TRANSFORM wing_USES PREPEND wing_)
  add_library(wing_${name} STATIC ${sources})
  target_include_directories(wing_${name} PUBLIC ${see})
  target_compile_options(wing_${name} PUBLIC -ffile-prefix-map=${see}/=)
  target_link_libraries(wing_${name} PUBLIC build_rules ${wing_USES} ${wing_LIBRARIES})
  if(BUILD_TESTING)
    set(empty ${CMAKE_CURRENT_BINARY_DIR}/${name}_alone.c)
    file(CONFIGURE OUTPUT ${empty} CONTENT "int main(void)\n{\n    return 0;\n}\n")
    add_executable(${name}_alone ${empty})
    target_link_libraries(${name}_alone PRIVATE $<LINK_LIBRARY:WHOLE_ARCHIVE,wing_${name}>)
  endif()
endfunction()

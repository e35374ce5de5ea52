# The runtime once more, for aarch64, on a machine of another kind: what --mcpu neoverse-n1 and its like link with. It is
# built where GNU's cross compiler is, and the archives of Debian's arm64 packages: tools/aarch64 gets both. Its folder in
# the build tree, and in LIBDIR/hone when installed, holds all that hone-link.txt names there.
set(HONE_AARCH64_ROOT ${CMAKE_SOURCE_DIR}/build-aarch64-root CACHE PATH
    "where the libraries that programs hold (HONE_STATIC_LIBRARIES) were unpacked for arm64")
set(gnu aarch64-linux-gnu)
set(to ${CMAKE_BINARY_DIR}/${gnu})
find_program(HONE_AARCH64_CC ${gnu}-gcc)
find_program(HONE_AARCH64_AR ${gnu}-ar)
find_program(HONE_AARCH64_OBJCOPY ${gnu}-objcopy)
set(archives "")
foreach(library ${HONE_STATIC_LIBRARIES})
    get_filename_component(library ${library} NAME)
    find_file(HONE_AARCH64_${library} ${library} PATHS ${HONE_AARCH64_ROOT}/usr/lib/${gnu} /usr/lib/${gnu} NO_DEFAULT_PATH)
    list(APPEND archives ${HONE_AARCH64_${library}})
endforeach()
set(needs "${HONE_AARCH64_CC};${HONE_AARCH64_AR};${archives}")
if(CMAKE_SYSTEM_PROCESSOR MATCHES aarch64 OR HONE_SANITIZE OR needs MATCHES NOTFOUND)
    if(needs MATCHES NOTFOUND)
        message(STATUS "no cross compiler for aarch64, or no archives: no runtime for it (tools/aarch64)")
    endif()
    return()
endif()
message(STATUS "the runtime is built for aarch64, too (${HONE_AARCH64_CC})")

# The archive of a target once more, of the same sources.
set(flags -std=gnu11 -O2 -DNDEBUG -fPIC -fopenmp -Wall -Wextra -fno-math-errno -ffp-contract=off
    -fstack-protector-strong -D_FORTIFY_SOURCE=2 -DHONE_VERSION="${PROJECT_VERSION}" -fvisibility=hidden -ffunction-sections -fdata-sections
    $<$<BOOL:${HONE_WERROR}>:-Werror> -I${CMAKE_SOURCE_DIR} -isystem ${HONE_AARCH64_ROOT}/usr/include/${gnu}
    -isystem ${HONE_AARCH64_ROOT}/usr/include -isystem ${XXHASH_INCLUDE})
# what tests/runtime links with, too
set(HONE_AARCH64_FLAGS ${flags})
set(HONE_AARCH64_TO ${to})
set(HONE_AARCH64_ARCHIVES ${archives})
set(cross_archives "")
foreach(target hone_rt hone_rt_main_infer hone_rt_main_finetune)
    get_target_property(sources ${target} SOURCES)
    set(objects "")
    foreach(source ${sources})
        file(RELATIVE_PATH name ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/${source})
        if(IS_ABSOLUTE ${source})
            file(RELATIVE_PATH name ${CMAKE_SOURCE_DIR} ${source})
        endif()
        string(REPLACE "/" "_" name ${name})
        set(object ${to}/objects/${name}.o)
        add_custom_command(OUTPUT ${object} DEPENDS ${source} DEPFILE ${object}.d VERBATIM COMMAND_EXPAND_LISTS
                           COMMAND ${CMAKE_C_COMPILER_LAUNCHER} ${HONE_AARCH64_CC} ${flags} -MD -MF ${object}.d -c ${source}
                                   -o ${object})
        list(APPEND objects ${object})
    endforeach()
    set(archive ${to}/lib${target}.a)
    add_custom_command(OUTPUT ${archive} DEPENDS ${objects} COMMAND ${CMAKE_COMMAND} -E rm -f ${archive}
                       COMMAND ${HONE_AARCH64_AR} rcsD ${archive} ${objects})
    list(APPEND cross_archives ${archive})
endforeach()
file(MAKE_DIRECTORY ${to}/objects)
set(HONE_AARCH64_OWN ${cross_archives}) # for tests/runtime
add_custom_target(hone_rt_aarch64 DEPENDS ${cross_archives})
add_dependencies(hone hone_rt_aarch64)

# Runs emitted code in tests, under qemu (tests/codegen/rig/foreign.h).
set(runner ${CMAKE_BINARY_DIR}/tests/foreign_aarch64)
add_custom_command(OUTPUT ${runner} DEPENDS ${CMAKE_SOURCE_DIR}/tests/codegen/rig/foreign_main.c ${to}/libhone_rt.a
                   COMMAND_EXPAND_LISTS VERBATIM
                   COMMAND ${HONE_AARCH64_CC} ${flags} ${CMAKE_SOURCE_DIR}/tests/codegen/rig/foreign_main.c
                           ${to}/libhone_rt.a -lm -o ${runner})
add_custom_target(foreign_aarch64 ALL DEPENDS ${runner})

set(link "")
foreach(archive ${archives})
    file(COPY ${archive} DESTINATION ${to})
    get_filename_component(name ${archive} NAME)
    string(APPEND link "{LIBDIR}/${name}\n")
endforeach()
file(GENERATE OUTPUT ${to}/hone-link.txt
     CONTENT "{LIBDIR}/libhone_rt_main_infer.a\n{LIBDIR}/libhone_rt.a\n${link}-lgomp\n-lm\n")
file(GENERATE OUTPUT ${to}/hone-link-library.txt
     CONTENT "{LIBDIR}/libhone_rt.a\n{LIBDIR}/libhone_jpeg.a\n{LIBDIR}/libhone_png.a\n{LIBDIR}/libwebp.a\n{LIBDIR}/libz.a\n")
hone_library_archives(hone_archives_aarch64 ${to} ${HONE_AARCH64_OBJCOPY} ${to}/libjpeg.a ${to}/libpng16.a)
add_dependencies(hone hone_archives_aarch64)
file(GENERATE OUTPUT ${to}/hone-link-finetune.txt
     CONTENT "{LIBDIR}/libhone_rt_main_finetune.a\n{LIBDIR}/libhone_rt.a\n${link}-lgomp\n-lm\n")
install(DIRECTORY ${to} DESTINATION ${CMAKE_INSTALL_LIBDIR}/hone FILES_MATCHING PATTERN "*.a" PATTERN "*.txt"
        PATTERN objects EXCLUDE)

# The Debian package: cmake --build build && (cd build && cpack) writes hone_VERSION_ARCH.deb.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(HONE_MAINTAINER "hone's authors <hone@localhost>" CACHE STRING "who stands for the Debian package: NAME <ADDRESS>")
set(CPACK_PACKAGE_CONTACT ${HONE_MAINTAINER})
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# what links the programs that hone makes
set(CPACK_DEBIAN_PACKAGE_DEPENDS
    "gcc | c-compiler, binutils, libjpeg62-turbo-dev, libpng-dev, zlib1g-dev, libjansson-dev, libevent-dev, libwebp-dev")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS graphviz)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "ahead-of-time compiler for ONNX image networks")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
    "hone compiles a pretrained ONNX image network to native code: a program or a
library that classifies images, or a program that fine-tunes the network on
images of one's own and writes an ONNX file. Weights, labels and
preprocessing are inside.")

set(package_doc ${CMAKE_INSTALL_DATADIR}/doc/hone)
configure_file(tools/package/changelog ${CMAKE_BINARY_DIR}/changelog.txt @ONLY)
add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/changelog.gz
                   COMMAND sh -c "gzip -9n <changelog.txt >changelog.gz"
                   DEPENDS ${CMAKE_BINARY_DIR}/changelog.txt WORKING_DIRECTORY ${CMAKE_BINARY_DIR} VERBATIM)
add_custom_target(package_changelog ALL DEPENDS ${CMAKE_BINARY_DIR}/changelog.gz)
install(FILES ${CMAKE_BINARY_DIR}/changelog.gz DESTINATION ${package_doc})
install(FILES tools/package/copyright DESTINATION ${package_doc})
# What is to be read, in folders as in the source: its links lead where they should.
file(GLOB_RECURSE package_pages RELATIVE ${CMAKE_SOURCE_DIR} codegen/README.md frontend/README.md ir/README.md
     passes/README.md runtime/README.md tests/README.md tools/README.md tools/examples/*)
list(FILTER package_pages EXCLUDE REGEX __pycache__)
foreach(page README.md tools/guide.md tools/package/Dockerfile tools/package/hone-model@.service
        ir/ops.def ir/conv_algos.def ${package_pages})
    get_filename_component(folder ${page} DIRECTORY)
    install(FILES ${page} DESTINATION ${package_doc}/${folder})
endforeach()
include(CPack)

# pkg-config --variable=hone hone, and find_package(hone) with hone_add_library()
set(pc_folder ${CMAKE_INSTALL_DATADIR}/pkgconfig)
set(cmake_folder ${CMAKE_INSTALL_LIBDIR}/cmake/hone)
file(RELATIVE_PATH HONE_PREFIX_FROM_PC /p/${pc_folder} /p)
file(RELATIVE_PATH HONE_PREFIX_FROM_CMAKE /p/${cmake_folder} /p)
configure_file(tools/package/hone.pc.in ${CMAKE_BINARY_DIR}/hone.pc @ONLY)
configure_file(tools/package/hone-config.cmake.in ${CMAKE_BINARY_DIR}/hone-config.cmake @ONLY)
include(CMakePackageConfigHelpers)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/hone-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/hone.pc DESTINATION ${pc_folder})
install(FILES ${CMAKE_BINARY_DIR}/hone-config.cmake ${CMAKE_BINARY_DIR}/hone-config-version.cmake
        DESTINATION ${cmake_folder})

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
install(FILES tools/package/copyright README.md DESTINATION ${package_doc})
install(FILES tools/package/hone-model@.service DESTINATION ${package_doc}/examples)
include(CPack)

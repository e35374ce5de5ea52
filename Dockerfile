# A network as an image that holds one file, the program:
#
#   docker build --build-arg MODEL=resnet50.onnx -t resnet50 .
#   docker run --rm -v "$PWD:/photos" resnet50 /photos/cat.jpg
#
# MODEL lies below this folder. MCPU is the oldest CPU that it shall run on.
FROM debian:12-slim AS hone
WORKDIR /hone
COPY . .
RUN . tools/setup.sh && install_packages $BUILD_PACKAGES && build_hone build hone

FROM hone AS program
ARG MODEL
ARG MCPU=x86-64-v3
RUN build/hone compile "$MODEL" -o /program --static --mcpu "$MCPU"

FROM scratch
COPY --from=program /program /program
ENTRYPOINT ["/program"]

#!/bin/sh
# Remove from the environment of an image what no run needs: the libraries' own tests, and
# PyTorch's C++ headers and test programs.
#
#   slim.sh ENVIRONMENT
set -eu
cd "$1"/lib/python3*/site-packages
rm -rf torch/test torch/include torch/bin/*test* torch/bin/*Test torch/bin/protoc*
# NumPy and nilearn import from theirs.
find . -type d -name tests ! -path './numpy/*' ! -path './nilearn/*' -prune -exec rm -rf {} +

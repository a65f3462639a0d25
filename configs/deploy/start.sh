#!/bin/sh
# The models are only read, be they the image's or mounted. What is written beside them (plans) has a volume, which hides
# whatever an image has in its place, so that they are led in here.
set -eu
mkdir -p "$MAROTTE_CACHE"
if [ -d "$MAROTTE_MODELS/models" ] && { [ -L "$MAROTTE_CACHE/models" ] || [ ! -e "$MAROTTE_CACHE/models" ]; }; then
    ln -sfn "$MAROTTE_MODELS/models" "$MAROTTE_CACHE/models"
fi
exec marotte "$@"

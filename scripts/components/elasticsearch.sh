# A bare Elasticsearch node, from Maven. Sourced by components.sh.
# shellcheck shell=bash

elasticsearch_dir() { printf '%s/elasticsearch/%s-%s' "$(cache_dir)" "$ELASTICSEARCH_VERSION" "${ELASTICSEARCH_SHA256:0:12}"; }

verb_elasticsearch() {
  local tool
  for tool in mvn java unzip; do
    command -v "$tool" >/dev/null || die "$EXIT_MISSING" "elasticsearch: $tool is not installed; install Java 17, Maven and unzip"
  done
  install_once elasticsearch "$(elasticsearch_dir)" build_elasticsearch
}

build_elasticsearch() { # DIR
  local zip="$1/node.zip"
  say "elasticsearch: fetching $ELASTICSEARCH_VERSION (98 MB)"
  mvn -q -B dependency:copy -Dartifact="$ELASTICSEARCH_COORDINATE" -DoutputDirectory="$1/zip" >&2 || return 1
  mv "$1"/zip/*.zip "$zip" || return 1
  check_sha256 "$zip" "$ELASTICSEARCH_SHA256"
  unzip -q "$zip" -d "$1" && mv "$1"/elasticsearch-*/* "$1" || return 1
  rm -rf "$1/zip" "$zip" "$1"/elasticsearch-"$ELASTICSEARCH_VERSION"*
}

#!/bin/sh
# Makes proto/gen from proto/fleetcat.
set -eu
buf lint
buf generate

#!/usr/bin/env bash
# Submit, wait, read, compare and export with nothing but curl. Start a server with `trainyard up`, then
#
#   export TRAINYARD_URL=http://127.0.0.1:8080 TRAINYARD_TOKEN=$(cat trainyard-data/admin.token)
#   examples/curl.sh
set -euo pipefail

api() { curl --silent --show-error --fail-with-body -H "Authorization: Bearer $TRAINYARD_TOKEN" "$@"; }

# The n-th run of the job in an answer like {"id":3,"run_ids":[7,8]}.
run_of() { sed -E 's/.*"run_ids":\[([0-9,]+)\].*/\1/' <<<"$1" | cut -d, -f"$2"; }

# Two runs: RMSProp and gradient descent on one equation in two unknowns. The key makes a repeat of this request harmless.
answer=$(api "$TRAINYARD_URL/v1/jobs" -H "Content-Type: application/json" -H "Idempotency-Key: curl-example-$$-$RANDOM" -d '{
  "name": "curl example",
  "spec": {"kind": "regression", "problem": {"source": "inline", "x": [[2, 1]], "t": [2]},
           "optimizer": {"name": "gd", "learning_rate": 0.01}, "steps": 2000},
  "sweep": {"optimizer.name": ["gd", "rmsprop"]}}')
echo "submitted: $answer"

# A long poll: the answer comes when the run changes, after 30 seconds at the latest.
for place in 1 2; do
  run=$(run_of "$answer" "$place")
  until api "$TRAINYARD_URL/v1/runs/$run" -H "Prefer: wait=30" | grep -qE '"state":"(succeeded|failed|cancelled)"'; do :; done
  echo "run $run has ended"
done

first=$(run_of "$answer" 1)
second=$(run_of "$answer" 2)
echo "the loss of run $first in ten buckets:"
api "$TRAINYARD_URL/v1/runs/$first/metrics?names=loss&buckets=10"
echo
echo "side by side:"
api "$TRAINYARD_URL/v1/compare?runs=$first,$second"
echo
api "$TRAINYARD_URL/v1/runs/$second/metrics?format=csv&names=loss,distance_to_minimum_norm" >"${OUT:-.}/run-$second.csv"
echo "wrote ${OUT:-.}/run-$second.csv"

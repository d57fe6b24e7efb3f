#!/usr/bin/env bash
# One training by two processes in two network namespaces, as if on two machines: the file is that of one process, though the
# link between them is cut for two seconds; and what a step sends, beside the formula. Root, `ip` and the built program are
# needed: examples/two_machines.sh target/release/quadrivium
set -euo pipefail
program=$(realpath "$1")
rows=$(realpath "$(dirname "$0")/data/faithful.csv")
work=$(mktemp -d)
names=(quadrivium-a quadrivium-b)
pids=()
clean() {
    kill "${pids[@]}" 2>/dev/null || true
    for name in "${names[@]}"; do ip netns del "$name" 2>/dev/null || true; done
    rm -rf "$work"
}
trap clean EXIT
for name in "${names[@]}"; do ip netns add "$name"; done
ip link add va netns quadrivium-a type veth peer name vb netns quadrivium-b
ip -n quadrivium-a addr add 10.77.0.1/24 dev va
ip -n quadrivium-b addr add 10.77.0.2/24 dev vb
for end in "quadrivium-a va" "quadrivium-b vb"; do
    read -r name device <<< "$end"
    ip -n "$name" link set lo up
    ip -n "$name" link set "$device" up
done

# 256 units in each of three layers, and rows as they are; two shards, one for each process.
steps=${STEPS:-400}
fit=(fit -m flow_matching "$rows" --dequantize --validation 0 --batch 2048
    --set 'network.hidden=[256,256,256]' --steps "$steps")

export RAYON_NUM_THREADS=1
sent() { ip netns exec quadrivium-a cat /sys/class/net/va/statistics/tx_bytes; }
before=$(sent)
start=$(date +%s.%N)
for rank in 0 1; do
    ip netns exec "${names[$rank]}" "$program" "${fit[@]}" -o "$work/$rank" --log "$work/log-$rank" \
        --peers 10.77.0.1:7700,10.77.0.2:7700 --rank "$rank" 2> "$work/said-$rank" &
    pids+=($!)
done
if [ "${CUT:-yes}" = yes ]; then
    until [ -s "$work/log-0" ]; do
        kill -0 "${pids[0]}" || { cat "$work"/said-* >&2; exit 1; }
        sleep 0.05
    done
    lines() { wc -l < "$work/log-0"; }
    ip -n quadrivium-a link set va down
    sleep 0.5
    cut=$(lines)
    sleep 1.5
    test "$(lines)" -eq "$cut" || { echo "the training went on without the link" >&2; exit 1; }
    ip -n quadrivium-a link set va up
fi
for pid in "${pids[@]}"; do wait "$pid" || { cat "$work"/said-* >&2; exit 1; }; done
together=$(date +%s.%N)
bytes=$(($(sent) - before))
"$program" "${fit[@]}" -o "$work/alone" 2> "$work/said"
alone=$(date +%s.%N)
cmp "$work/alone" "$work/0"
cmp "$work/alone" "$work/1"
parameters=$("$program" info --json "$work/alone" | sed -n 's/.*"parameters": \([0-9]*\).*/\1/p')
awk -v p="$parameters" -v bytes="$bytes" -v steps="$steps" -v start="$start" -v together="$together" -v alone="$alone" 'BEGIN {
    printf "two processes wrote the file of one, bit for bit, with %d parameters\n", p
    printf "sent by the first: %.0f bytes a step; by the formula %.0f\n", bytes / steps, 4 * p * (1 + 1) / 2
    printf "one process: %.2f s; two: %.2f s, the time without a link included\n", alone - together, together - start
}'

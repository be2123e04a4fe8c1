# The op table on this machine, both number types.
must selftest --cases 2 --json
grep -q '"failed": 0' .out || fail "selftest"
must selftest --cases 1 --dtype bf16
tail -n 1 .out | grep -q ' 0 failed' || fail "selftest --dtype bf16"
m selftest --engine gpu

# Lost output is a failure, a reader that went away is none of ours.
m limits
[ -e /dev/full ] || skip "no /dev/full"
"$program" limits >/dev/full 2>.err
say "full: $?"
talk .err
"$program" limits >&- 2>.err
say "closed: $?"
talk .err
{ "$program" limits 2>.err; echo $? >.code; } | :
talk .err

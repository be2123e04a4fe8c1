# Without the colour font the emoji world cannot be drawn: which package is missing is said, nothing is left behind.
printf '<?xml version="1.0"?>\n<fontconfig><dir>%s/nofonts</dir><cachedir>%s/fc</cachedir></fontconfig>\n' "$T" "$T" >fonts.conf
mkdir nofonts
XDG_CACHE_HOME=$T/cache
FONTCONFIG_FILE=$T/fonts.conf
export FONTCONFIG_FILE
m data emoji
[ ! -e cache/meridian/emoji-world-1 ] || fail "a world without pictures"
